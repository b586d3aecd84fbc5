//! Which call a log line belongs to. A call tells its thread while it is worked for, and lines that are written meanwhile
//! say so: a span would be made, formatted and thrown away at every call, for lines that hardly any call writes.

use std::any::Any;
use std::cell::RefCell;
use std::fmt::Result;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

thread_local! {
    /// What the thread works for.
    static NOW: RefCell<Option<CallName>> = const { RefCell::new(None) };
}

/// How log lines name a call.
#[derive(Clone, Debug)]
pub struct CallName {
    /// Its request id: letters and digits.
    pub request: Arc<str>,
    /// Its method, as the role table calls it.
    pub method: Arc<str>,
    /// What is kept until the work for it is done, in every task that has a part of it.
    pub kept: Option<Arc<dyn Any + Send + Sync>>,
}

/// Work for a call.
pub struct InCall<F> {
    call: Option<CallName>,
    work: F,
}

impl<F> InCall<F> {
    /// Work for this call.
    pub fn new(call: CallName, work: F) -> Self {
        Self { call: Some(call), work }
    }

    /// Work for the call that the thread works for now, if it does for one: what a call leaves to a task of its own.
    pub fn going_on(work: F) -> Self {
        Self { call: NOW.with_borrow(Clone::clone), work }
    }
}

impl<F: Future + Unpin> Future for InCall<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let own = self.get_mut();
        let _working = Working::begin(&mut own.call);
        Pin::new(&mut own.work).poll(context)
    }
}

/// While it lives, the thread works for a call, and then for what it worked for before: also where the work panics.
struct Working<'a>(&'a mut Option<CallName>);

impl<'a> Working<'a> {
    fn begin(call: &'a mut Option<CallName>) -> Self {
        NOW.with_borrow_mut(|now| std::mem::swap(now, call));
        Self(call)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        NOW.with_borrow_mut(|now| std::mem::swap(now, self.0));
    }
}

/// Lines for machines, with their call beside what they say.
pub(super) struct JsonLines(pub Format<Json>);

/// Lines for people, with their call at the end.
pub(super) struct PlainLines(pub Format<Full>);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, of: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> Result {
        let mut line = String::new();
        self.0.format_event(of, Writer::new(&mut line), event)?;
        match (NOW.with_borrow(Clone::clone), line.trim_end().strip_suffix('}')) {
            (Some(CallName { request, method, .. }), Some(object)) => {
                // Both are words of ours, without a quote.
                writeln!(to, "{object},\"request\":\"{request}\",\"method\":\"{method}\"}}")
            }
            _ => to.write_str(&line),
        }
    }
}

impl<S, N> FormatEvent<S, N> for PlainLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, of: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> Result {
        let mut line = String::new();
        let format = self.0.clone().with_ansi(to.has_ansi_escapes());
        format.format_event(of, Writer::new(&mut line), event)?;
        match NOW.with_borrow(Clone::clone) {
            Some(CallName { request, method, .. }) => {
                writeln!(to, "{} request={request} method={method}", line.trim_end())
            }
            None => to.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
    use super::*;
    use std::future::{poll_fn, ready};
    use std::io;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Mutex, MutexGuard};
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
            self.0.lock().unwrap()
        }

        fn lines(&self) -> Vec<String> {
            String::from_utf8(self.bytes().clone()).unwrap().lines().map(str::to_owned).collect()
        }
    }

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.bytes().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn name(request: &str) -> CallName {
        CallName { request: request.into(), method: "GrantService/CheckGrant".into(), kept: None }
    }

    /// Says a word at each of its polls.
    fn saying(words: &'static [&'static str]) -> impl Future<Output = ()> + Unpin {
        let mut words = words.iter();
        poll_fn(move |_| match words.next() {
            Some(word) => {
                tracing::warn!("{word}");
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
    }

    fn poll(work: &mut (impl Future<Output = ()> + Unpin)) {
        let _polled = Pin::new(work).poll(&mut Context::from_waker(std::task::Waker::noop()));
    }

    #[test]
    fn lines_say_which_call_they_belong_to_and_others_none() {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let lines = lines.json().flatten_event(true).map_event_format(JsonLines);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let (mut one, mut other) =
                (InCall::new(name("a1"), saying(&["x", "y"])), InCall::new(name("b2"), saying(&["z"])));
            poll(&mut one);
            poll(&mut other);
            tracing::warn!("nobody's");
            poll(&mut one);
            let mut panicking = InCall::new(name("c3"), poll_fn(|_| -> Poll<()> { panic!("on purpose") }));
            let caught = catch_unwind(AssertUnwindSafe(|| poll(&mut panicking)));
            assert!(caught.is_err());
            tracing::warn!("nobody's again");
        });
        let said: Vec<(String, Option<String>)> = sink
            .lines()
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| {
                let text = |key: &str| line[key].as_str().map(str::to_owned);
                (text("message").unwrap(), text("request"))
            })
            .collect();
        let own = |word: &str, request: Option<&str>| (word.to_owned(), request.map(str::to_owned));
        let wanted = [
            own("x", Some("a1")),
            own("z", Some("b2")),
            own("nobody's", None),
            own("y", Some("a1")),
            own("nobody's again", None),
        ];
        assert_eq!(said, wanted);
    }

    #[test]
    fn what_a_call_leaves_to_another_task_says_so_too() {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let lines = lines.map_event_format(PlainLines);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let mut left = None;
            let leaving = poll_fn(|_| {
                left = Some(InCall::going_on(saying(&["left"])));
                Poll::Ready(())
            });
            poll(&mut InCall::new(name("d4"), leaving));
            poll(&mut left.unwrap());
            poll(&mut InCall::going_on(saying(&["nobody's"])));
            poll(&mut InCall::new(name("e5"), ready(())));
        });
        let [left, nobodys] = &sink.lines()[..] else { panic!("{:?}", sink.lines()) };
        assert!(left.ends_with("left request=d4 method=GrantService/CheckGrant"), "{left}");
        assert!(nobodys.ends_with("nobody's"), "{nobodys}");
    }
}
