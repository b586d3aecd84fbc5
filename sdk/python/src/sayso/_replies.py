"""Remembers which grant a reply was reported for."""

from __future__ import annotations

import threading
from collections import OrderedDict

from sayso._use import grant_in_reply
from sayso.errors import InvalidRequestError, NotFoundError

__all__ = ["ReplyIndex", "require_name"]

_REPLIES_MAX = 10_000


class ReplyIndex:
    """The newest replies of this process, by name. It has ids only, and nothing about people."""

    def __init__(self) -> None:
        self._grants: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, reply: str, grant: str) -> None:
        """Notes the grant of a reply."""
        with self._lock:
            self._grants[reply] = grant
            self._grants.move_to_end(reply)
            if len(self._grants) > _REPLIES_MAX:
                self._grants.popitem(last=False)

    def find(self, reply: str) -> str:
        """Returns the grant of a reply, or nothing if it is not known."""
        with self._lock:
            return self._grants.get(reply, "") or grant_in_reply(reply)

    def grant_of(self, reply: str) -> str:
        """Returns the grant of a reply.

        Raises:
            NotFoundError: It is not known.
        """
        found = self.find(reply)
        if not found:
            raise NotFoundError("this reply is not known here; give the id of its grant", reason="NOT_FOUND")
        return found


def require_name(reply: str, grant: str) -> None:
    """Refuses a question about a reply that names neither the reply nor its grant.

    Raises:
        InvalidRequestError: Both are empty.
    """
    if not reply and not grant:
        raise InvalidRequestError("give a reply or a grant", reason="INVALID_REQUEST")
