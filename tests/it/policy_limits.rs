//! Tests policies that are built to exhaust the stack, the processor or the memory of the parser. Each is
//! rejected with an error that names the limit, and the daemon answers other requests at the same time.

use crate::bounds::{World, consented, granted, keys, publish, record, version, world};
use sayso::proto::{self, Tier};
use std::time::{Duration, Instant};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// How long the preview and the publication of a policy together may take to reject it, in a build without
/// optimization.
const REJECTION_MAX: Duration = Duration::from_secs(20);
const KIB: usize = 1 << 10;

/// A condition that repeats an element this many times.
type Shape = fn(usize) -> String;

/// Conditions whose syntax trees grow deeper with their length.
const DEEP: [(&str, Shape); 16] = [
    ("parentheses", |n| format!("{}true{}", "(".repeat(n), ")".repeat(n))),
    ("and", |n| format!("true{}", " && true".repeat(n))),
    ("or", |n| format!("true{}", " || true".repeat(n))),
    ("sums", |n| format!("1{} == 1", "+1".repeat(n))),
    ("products", |n| format!("1{} == 1", "*1".repeat(n))),
    ("members", |n| format!("context{} == 1", ".a".repeat(n))),
    ("indexes", |n| format!("context{} == 1", "[\"a\"]".repeat(n))),
    ("calls", |n| format!("[1]{}", ".contains(1)".repeat(n))),
    ("sets", |n| format!("{}1{} == 1", "[".repeat(n), "]".repeat(n))),
    ("records", |n| format!("{}1{} == 1", "{a:".repeat(n), "}".repeat(n))),
    ("guards", |n| format!("{}true{}", "if ".repeat(n), " then true else true".repeat(n))),
    ("branches", |n| format!("{}true{}", "if true then ".repeat(n), " else true".repeat(n))),
    ("else if", |n| format!("{}true", "if true then true else ".repeat(n))),
    ("not", |n| format!("{}true{}", "!(".repeat(n), ")".repeat(n))),
    ("conditions", |n| format!("true {}", "} when { true ".repeat(n))),
    ("members that are there", |n| format!("context has a{}", ".a".repeat(n))),
];

/// Conditions that are not deep and are costly in another way.
const COSTLY: [(&str, Shape); 9] = [
    // Each level is evaluated twice.
    ("is in", |n| format!("{}context{}", "(".repeat(n.min(31)), " is Purpose in context)".repeat(n.min(31)))),
    ("patterns", |n| format!("\"{}\" like \"{}b\"", "a".repeat(n), "*a".repeat(n / 2))),
    ("a set", |n| format!("[{}].isEmpty() && nope", "1,".repeat(n))),
    ("a name", |n| format!("{}::\"a\" == resource", "a".repeat(n))),
    ("a path", |n| format!("{}a::\"a\" == resource", "a::".repeat(n))),
    ("many problems", |n| format!("[{}] == 1", "nope,".repeat(n))),
    // After these errors the parser continues, and it nests deeper without any brackets.
    ("errors in records", |n| "{a}:".repeat(n)),
    ("errors in branches", |n| format!("if @ {}", "(then if)".repeat(n))),
    ("errors everywhere", |n| "[@,".repeat(n)),
];

fn policy(condition: &str) -> String {
    format!("@id(\"a\") forbid (principal, action in Action::\"use\", resource) when {{ {condition} }};")
}

async fn preview(world: &mut World, policies: &str) -> Result<(), Status> {
    let bounds = vec![version(Tier::Provider, "p", "1", policies).into()];
    let request = proto::PreviewBoundsRequest { bounds, ..Default::default() };
    let mut steps = world.steward.bounds.preview_bounds(request).await?.into_inner();
    while steps.message().await?.is_some() {}
    Ok(())
}

fn violations(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    violations.into_iter().map(|violation| violation.description).collect()
}

/// Asserts that preview and publication reject the policies for the same reasons, and that a service is
/// answered meanwhile. Returns the error.
async fn assert_rejected(world: &mut World, name: &str, policies: &str) -> Status {
    let start = Instant::now();
    let previewed = preview(world, policies).await.expect_err(name);
    assert_eq!(previewed.code(), Code::InvalidArgument, "{name}: {previewed:?}");
    let published = publish(world, version(Tier::Provider, "p", "1", policies)).await.expect_err(name);
    assert_eq!(violations(&published), violations(&previewed), "{name}");
    assert!(start.elapsed() < REJECTION_MAX, "{name} took {:?}", start.elapsed());
    assert_eq!(keys(&granted(world, "ada").await), ["tone"], "{name}");
    previewed
}

async fn start_world() -> World {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "communication-style").await;
    consented(&mut world, "ada").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_policies_are_rejected_with_the_limit_and_its_position() {
    let mut world = start_world().await;
    for (name, shape) in DEEP {
        for count in [300, 3_000, 8 * KIB] {
            let text = policy(&shape(count));
            if text.len() > 256 * KIB {
                continue;
            }
            let refused = assert_rejected(&mut world, name, &text).await;
            let problems = violations(&refused);
            assert!(problems[0].starts_with("line 1, column "), "{name}, {count}: {problems:?}");
            assert!(problems[0].contains("at most"), "{name}, {count}: {problems:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn costly_policies_are_rejected_quickly() {
    let mut world = start_world().await;
    for (name, shape) in COSTLY {
        for count in [300, 1_000, 50 * KIB] {
            let text = policy(&shape(count));
            if text.len() > 256 * KIB {
                continue;
            }
            let refused = assert_rejected(&mut world, name, &text).await;
            assert!(violations(&refused).len() <= 11, "{name}, {count}: {refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_packs_are_limited_in_policies_and_bytes() {
    let mut world = start_world().await;
    let whole = |policies: usize| -> String {
        (0..policies)
            .map(|number| policy("context.paused").replace("\"a\"", &format!("\"a{number}\"")))
            .collect()
    };
    let many = violations(&assert_rejected(&mut world, "policies", &whole(1_025)).await);
    assert!(many[0].contains("at most 1024 policies"), "{many:?}");
    let large = format!("{}// {}", whole(1), "x".repeat(256 * KIB));
    let large = violations(&assert_rejected(&mut world, "bytes", &large).await);
    // The limit of the field itself applies before the policies are parsed.
    assert!(large[0].contains("at most 262144 bytes"), "{large:?}");
    let whole = format!("{}// {}", whole(1), "x".repeat(255 * KIB));
    preview(&mut world, &whole).await.unwrap();
    publish(&mut world, version(Tier::Provider, "p", "1", &whole)).await.unwrap();
    // The packs of one preview also have a limit on their total size.
    let bounds: Vec<proto::BoundsPack> =
        (0..5).map(|number| version(Tier::Provider, &format!("p{number}"), "1", &whole).into()).collect();
    let request = proto::PreviewBoundsRequest { bounds, ..Default::default() };
    let refused = world.steward.bounds.preview_bounds(request).await.unwrap_err();
    let together = &violations(&refused)[0];
    assert!(together.contains("at most 1 MiB") || together.contains("at most 1264448 bytes"), "{together}");
    let individual = vec![version(Tier::Individual, "p", "1", "").into()];
    let request = proto::PreviewBoundsRequest { bounds: individual, ..Default::default() };
    let refused = world.steward.bounds.preview_bounds(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

/// The deepest policies that may be published are evaluated by a preview, and on the threads that answer
/// requests.
#[tokio::test(flavor = "multi_thread")]
async fn the_deepest_publishable_policies_are_evaluated_on_request_threads() {
    let mut world = start_world().await;
    let deepest: [(&str, String); 5] = [
        ("and", format!("true{} && context.paused", " && true".repeat(120))),
        ("sums", format!("1{} == 1", "+1".repeat(120))),
        ("not", format!("!!!!(context.paused{})", " || context.paused".repeat(115))),
        ("calls", format!("{}context.paused{}", "[true].contains(".repeat(30), ")".repeat(30))),
        ("branches", format!("{}context.paused{}", "if true then ".repeat(30), " else true".repeat(30))),
    ];
    for (number, (name, condition)) in deepest.into_iter().enumerate() {
        let text = policy(&condition);
        preview(&mut world, &text).await.unwrap_or_else(|status| panic!("{name}: {status:?}"));
        let bounds = version(Tier::Provider, "p", &number.to_string(), &text);
        publish(&mut world, bounds).await.unwrap_or_else(|status| panic!("{name}: {status:?}"));
        let grant = granted(&mut world, "ada").await;
        assert_eq!(keys(&grant), ["tone"], "{name}: {grant:?}");
    }
}

/// Previews that find no free parser are refused, and no other request waits for previews.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_policy_parsers_are_limited_and_block_no_other_request() {
    let mut world = start_world().await;
    let text = |number: usize| -> String {
        let condition =
            "context.age_days > 1 || resource.special".to_owned() + &" || context.paused".repeat(100);
        (0..60).map(|at| policy(&condition).replace("\"a\"", &format!("\"a{number}-{at}\""))).collect()
    };
    let mut previews = tokio::task::JoinSet::new();
    for number in 0..12 {
        let mut steward = world.steward.clone();
        let bounds = vec![version(Tier::Provider, "p", "1", &text(number)).into()];
        previews.spawn(async move {
            let request = proto::PreviewBoundsRequest { bounds, ..Default::default() };
            let mut steps = steward.bounds.preview_bounds(request).await?.into_inner();
            while steps.message().await?.is_some() {}
            Ok::<(), Status>(())
        });
    }
    let start = Instant::now();
    assert_eq!(keys(&granted(&mut world, "ada").await), ["tone"]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let (mut done, mut refused) = (0, 0);
    while let Some(ended) = previews.join_next().await {
        match ended.unwrap() {
            Ok(()) => done += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                refused += 1;
            }
        }
    }
    assert!(done >= 2 && done + refused == 12, "{done} done, {refused} refused");
}
