"""The calls of one use, for code without asyncio."""

from __future__ import annotations

from types import TracebackType

from sayso import _operations as operations
from sayso._caller import Caller
from sayso._operations import Names
from sayso._use import UseState
from sayso.answers import Check, Embedding
from sayso.errors import InvalidStateError

__all__ = ["Use"]


class Use(UseState):
    """One use of facts about a person, around the making of one reply."""

    def __init__(
        self,
        caller: Caller,
        person: str,
        purpose: str,
        chat: str,
        categories: Names,
        keys: Names,
        ttl: float | None,
        strict: bool,
        about: str,
        top_k: int,
        embedding: Embedding | None,
    ) -> None:
        super().__init__(
            lambda: operations.request_grant(
                person,
                purpose,
                chat=chat,
                categories=categories,
                keys=keys,
                ttl=ttl,
                about=about,
                top_k=top_k,
                embedding=embedding,
            ),
            caller.defaults.renderer,
            strict,
        )
        self._caller, self._purpose = caller, purpose

    def __enter__(self) -> Use:
        try:
            self._accept(self._caller.run(self._begin(), self._caller.defaults.reply_timeout), self._purpose)
        except Exception as problem:
            self._fail(problem)
        self._caller.open_uses.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            # An error of the reply is more important than one of its report.
            self._strict = False
        try:
            if self._to_report(kind is not None):
                self.check()
                self.report()
        finally:
            self._caller.open_uses.remove(self)
            self._close()

    def check(self) -> Check:
        """Asks whether the grant is still valid, for example before the reply is sent. When in doubt, it is not."""
        if not self.grant_id:
            return Check(False, None, self.status)
        try:
            return self._checked(
                self._caller.run(operations.check_grant(self.grant_id), self._caller.defaults.reply_timeout)
            )
        except Exception as problem:
            return self._unchecked(problem)

    def report(self) -> bool:
        """Reports the replies that are not reported yet, and says whether all are.

        The `with` block does this at its end. Call it again if `reported` is false.
        """
        for reply in self._open_replies():
            try:
                try:
                    reply.receipt = self._caller.run(self._report(reply, is_past=self.valid is not True))
                except InvalidStateError:
                    # The grant ended between the check and the report.
                    reply.receipt = self._caller.run(self._report(reply, is_past=True))
                self._caller.replies.add(reply.name, self.grant_id)
            except Exception as problem:
                self._note(problem)
        return self.reported
