//! Adds the current call's id and method to log lines.
//!
//! While a thread works for a call, a thread-local variable names that call, and log lines read it. A span
//! for each call would do the same. But it would be made, formatted and dropped at every call, although
//! hardly any call writes a log line.

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
    /// The call that the thread works for.
    static CURRENT: RefCell<Option<CallName>> = const { RefCell::new(None) };
}

/// A call, as log lines name it.
#[derive(Clone, Debug)]
pub struct CallName {
    /// Its request id: letters and digits.
    pub request: Arc<str>,
    /// Its method, by its name in the role table.
    pub method: Arc<str>,
    /// A value that is kept until every task that works for the call is done.
    pub kept: Option<Arc<dyn Any + Send + Sync>>,
}

/// A future that does work for a call.
pub struct InCall<F> {
    call: Option<CallName>,
    work: F,
}

impl<F> InCall<F> {
    /// Does `work` for `call`.
    pub fn new(call: CallName, work: F) -> Self {
        Self { call: Some(call), work }
    }

    /// Does `work` for the thread's current call, if there is one. Use it for work that a call moves to a
    /// separate task.
    pub fn inherit(work: F) -> Self {
        Self { call: CURRENT.with_borrow(Clone::clone), work }
    }
}

impl<F: Future + Unpin> Future for InCall<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let own = self.get_mut();
        let _current = CurrentCall::enter(&mut own.call);
        Pin::new(&mut own.work).poll(context)
    }
}

/// Makes a call the thread's current one, and restores the previous one when dropped, also on a panic.
struct CurrentCall<'a>(&'a mut Option<CallName>);

impl<'a> CurrentCall<'a> {
    fn enter(call: &'a mut Option<CallName>) -> Self {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, call));
        Self(call)
    }
}

impl Drop for CurrentCall<'_> {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, self.0));
    }
}

/// JSON lines, with the call as two more fields.
pub(super) struct JsonLines(pub Format<Json>);

/// Plain lines, with the call at the end.
pub(super) struct PlainLines(pub Format<Full>);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, of: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> Result {
        let mut line = String::new();
        self.0.format_event(of, Writer::new(&mut line), event)?;
        match (CURRENT.with_borrow(Clone::clone), line.trim_end().strip_suffix('}')) {
            (Some(CallName { request, method, .. }), Some(object)) => {
                // Neither value contains a quote, so they need no escapes.
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
        match CURRENT.with_borrow(Clone::clone) {
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

    /// Logs a word at each poll.
    fn logging(words: &'static [&'static str]) -> impl Future<Output = ()> + Unpin {
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
    fn lines_name_their_call_and_lines_outside_calls_name_none() {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let lines = lines.json().flatten_event(true).map_event_format(JsonLines);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let (mut one, mut other) =
                (InCall::new(name("a1"), logging(&["x", "y"])), InCall::new(name("b2"), logging(&["z"])));
            poll(&mut one);
            poll(&mut other);
            tracing::warn!("outside");
            poll(&mut one);
            let mut panicking = InCall::new(name("c3"), poll_fn(|_| -> Poll<()> { panic!("on purpose") }));
            let caught = catch_unwind(AssertUnwindSafe(|| poll(&mut panicking)));
            assert!(caught.is_err());
            tracing::warn!("outside again");
        });
        let lines: Vec<(String, Option<String>)> = sink
            .lines()
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| {
                let text = |key: &str| line[key].as_str().map(str::to_owned);
                (text("message").unwrap(), text("request"))
            })
            .collect();
        let line = |word: &str, request: Option<&str>| (word.to_owned(), request.map(str::to_owned));
        let expected = [
            line("x", Some("a1")),
            line("z", Some("b2")),
            line("outside", None),
            line("y", Some("a1")),
            line("outside again", None),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn work_that_a_call_moves_to_another_task_names_the_call() {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let lines = lines.map_event_format(PlainLines);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let mut moved = None;
            let moving = poll_fn(|_| {
                moved = Some(InCall::inherit(logging(&["moved"])));
                Poll::Ready(())
            });
            poll(&mut InCall::new(name("d4"), moving));
            poll(&mut moved.unwrap());
            poll(&mut InCall::inherit(logging(&["outside"])));
            poll(&mut InCall::new(name("e5"), ready(())));
        });
        let [moved, outside] = &sink.lines()[..] else { panic!("{:?}", sink.lines()) };
        assert!(moved.ends_with("moved request=d4 method=GrantService/CheckGrant"), "{moved}");
        assert!(outside.ends_with("outside"), "{outside}");
    }
}
