//! The cost of a call must not reveal whether a data subject exists. For callers who are not allowed to know
//! this, the store does the same work whether the subject exists or not. The test counts store operations,
//! because times on a shared machine prove little.

use crate::controllers::channel_to;
use crate::harness::claim_for;
use crate::isolation::{Words, exchange, filled_message, populated_subject, unknown_subject_words};
use prost_reflect::DescriptorPool;
use prost_reflect::prost::Message;
use sayso::api::{
    self, Access, ApiOptions, Claim, Credentials, Issuer, QuotaLimits, QuotaOptions, ROLES, Trusted,
};
use sayso::app::{App, ReportSettings, RightsSettings, Settings, TierKeys, UseLimits};
use sayso::clock::{ClockLimits, CredentialClock, LedgerClock, SystemClock};
use sayso::domain::attribute::InferenceTerms;
use sayso::domain::recorder_usage::AttributeLimits;
use sayso::domain::request::Jurisdiction;
use sayso::ledger::{LedgerOptions, LogKeys};
use sayso::proto::{self, Role};
use sayso::store::memory::{MemoryKeys, MemoryLog};
use sayso::store::{
    CommitError, Frame, Head, IndexRecord, KeyStore, LogStore, Page, StoreError, StoredEntry,
};
use sayso::tls::{ConnectionLimits, Incoming};
use sayso::vault::MemoryCustody;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::transport::Channel;

/// A store that counts its operations.
struct Counted<S> {
    inner: S,
    work: Arc<AtomicU64>,
    /// Each read of a subject's events waits for this lock.
    reading: Arc<Mutex<()>>,
}

impl<S> Counted<S> {
    fn count(&self) -> &S {
        self.work.fetch_add(1, Ordering::SeqCst);
        &self.inner
    }
}

impl LogStore for Counted<MemoryLog> {
    fn head(&self) -> Head {
        self.inner.head()
    }
    fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        self.count().commit(expected, frames)
    }
    fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError> {
        self.count().read_entry(position)
    }
    fn read_entries(&self, start: u64, count: usize) -> Result<Vec<StoredEntry>, StoreError> {
        self.count().read_entries(start, count)
    }
    fn read_subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        drop(self.reading.lock().unwrap());
        self.count().read_subject(handle, start, count)
    }
    fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError> {
        self.count().subject_head(handle)
    }
    fn find_idempotent(&self, hash: &Hash) -> Result<Option<(u64, u32)>, StoreError> {
        self.count().find_idempotent(hash)
    }
    fn read_hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError> {
        self.count().read_hashes(level, start, count)
    }
    fn discard(&self, positions: &[u64]) -> Result<(), StoreError> {
        self.count().discard(positions)
    }
    fn index_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.count().index_get(key)
    }
    fn index_scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        self.count().index_scan(prefix, after, count)
    }
    fn unindexed_from(&self) -> Option<u64> {
        self.inner.unindexed_from()
    }
    fn index_restore(&self, records: &[(u64, Vec<IndexRecord>)], done_to: u64) -> Result<(), StoreError> {
        self.count().index_restore(records, done_to)
    }
    fn read_progress(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.count().read_progress()
    }
    fn write_progress(&self, progress: &[u8]) -> Result<(), StoreError> {
        self.count().write_progress(progress)
    }
    fn entry_bytes(&self) -> u64 {
        self.inner.entry_bytes()
    }
    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}

impl KeyStore for Counted<MemoryKeys> {
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.count().read_page(id)
    }
    fn write_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        self.count().write_pages(pages)
    }
    fn stage_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        self.count().stage_pages(pages)
    }
    fn scan_pages(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> Result<Vec<Page>, StoreError> {
        self.count().scan_pages(prefix, after, count)
    }
    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        self.count().count_pages(prefix)
    }
}

pub fn settings(controller: &str, work: &Arc<AtomicU64>, time: &Arc<LedgerClock>) -> Settings {
    settings_with(controller, work, time, &Arc::default())
}

fn settings_with(
    controller: &str,
    work: &Arc<AtomicU64>,
    time: &Arc<LedgerClock>,
    reading: &Arc<Mutex<()>>,
) -> Settings {
    let (work, reading) = (|| Arc::clone(work), || Arc::clone(reading));
    Settings {
        ranking: sayso::relevance::rank::RankingSettings::default(),
        use_limits: UseLimits { open_grants_max: 1_024, artifacts_max: 1_024, revocations_at_once_max: 256 },
        ledger: LedgerOptions {
            origin: format!("sayso.example/{controller}"),
            queue_max: 64,
            batch_events_max: 256,
            clock_skew_ms_max: 5_000,
            sealed_age_ms_max: 60_000,
            checkpoint_file: None,
            is_restored: false,
            manual: None,
        },
        log_keys: LogKeys::Seed([42; 32]),
        custody: Arc::<MemoryCustody>::default(),
        log: Arc::new(Counted { inner: MemoryLog::default(), work: work(), reading: reading() }),
        keys: Arc::new(Counted { inner: MemoryKeys::default(), work: work(), reading: reading() }),
        clock: Arc::clone(time),
        tier_keys: TierKeys::default(),
        cached_subjects_max: 1_024,
        cached_subjects_bytes_max: 8 << 20,
        controller: sayso::package::Controller::default(),
        restored: None,
        witnesses: Vec::new(),
        rights: RightsSettings { jurisdiction: Jurisdiction::Gdpr, steward_decides_erasures: false },
        erasures: sayso::app::ErasureSettings::default(),
        inferences: InferenceTerms { lasts_ms: 365 * 86_400_000, lasts_ms_by_category: BTreeMap::new() },
        attribute_limits: AttributeLimits::default(),
        report: ReportSettings {
            differences_allowed: false,
            k_min: 10,
            epsilon_max: 1.0,
            noise_required: false,
            releases_a_day: None,
            processing: Default::default(),
        },
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn options() -> ApiOptions {
    let many = NonZeroU32::new(1_000_000).unwrap();
    let calls = QuotaLimits { per_second_max: many, burst_max: many, at_once_max: 1_000 };
    ApiOptions {
        message_bytes_max: 4 << 20,
        streams_max: 100,
        answer_max: MINUTE,
        calls: QuotaOptions {
            service: calls,
            subject: calls,
            staff: calls,
            open: calls,
            request_bytes_max: 64 << 20,
            all_request_bytes_max: 64 << 20,
        },
    }
}

/// Two controllers over counting stores, behind the real access layer. `work` counts the operations of the
/// first controller's stores. While `reading` is locked, reads of a subject's events wait.
pub struct Served {
    pub channel: Channel,
    pub reading: Arc<Mutex<()>>,
    issuers: [Arc<Issuer>; 2],
    apps: Vec<Arc<App>>,
    work: Arc<AtomicU64>,
}

impl Served {
    pub async fn start(dir: &Path) -> Self {
        let (work, reading) = (Arc::default(), Arc::default());
        let issuer = |name: &str| {
            let path = dir.join(format!("{name}.key"));
            Arc::new(Issuer::load_or_create(&path, name, Arc::new(SystemClock)).unwrap())
        };
        let issuers = [issuer("dev"), issuer("acme")];
        let time = Arc::new(LedgerClock::new(Arc::new(SystemClock), ClockLimits::default()));
        let trusted = |name: &str, issuer: &Arc<Issuer>| Trusted {
            controller: name.into(),
            issuer: Some(Arc::clone(issuer)),
            tokens: None,
            clock: Arc::new(CredentialClock::of(&time)),
        };
        let trusted = vec![trusted("dev", &issuers[0]), trusted("acme", &issuers[1])];
        let mut apps = Vec::new();
        for (name, counted) in [("dev", &work), ("acme", &Arc::default())] {
            apps.push(App::open(settings_with(name, counted, &time, &reading)).await.unwrap());
        }
        let methods = api::methods();
        let actions = methods.iter().map(String::as_str).chain(sayso::web::ROUTES);
        let access = Access {
            credentials: Arc::new(Credentials::new(
                "sayso.example".into(),
                trusted,
                600,
                Arc::new(SystemClock),
            )),
            table: Arc::new(sayso::bounds::compile_roles(actions).unwrap()),
        };
        let bounds = ConnectionLimits {
            connections_max: 10,
            reserved: 0,
            per_address_max: 10,
            handshake_max: SECOND,
            idle_max: 10 * MINUTE,
            stall_max: MINUTE,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let incoming = Incoming::new(listener, None, bounds).unwrap();
        tokio::spawn(api::serve(incoming, std::future::pending(), apps.clone(), access, options()));
        Self { channel: channel_to(at).await, reading, issuers, apps, work }
    }

    pub fn token(&self, controller: usize, claim: Claim, name: &str) -> String {
        self.issuers[controller].mint(claim, name, 3_600).unwrap()
    }

    /// The number of operations of the first controller's stores, from the start of a call until the stores
    /// are idle again.
    async fn work_of(&self, token: &str, path: &str, body: Vec<u8>) -> u64 {
        let before = self.work.load(Ordering::SeqCst);
        let _answer = exchange(&self.channel, token, path, body).await;
        let mut seen = self.work.load(Ordering::SeqCst);
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = self.work.load(Ordering::SeqCst);
            if now == seen {
                return now - before;
            }
            seen = now;
        }
    }

    /// The methods for which the stores do a different amount of work if the subject does not exist.
    async fn methods_that_differ(
        &self,
        caller: &str,
        token: &str,
        existing: &Words,
        missing: &Words,
    ) -> Vec<String> {
        let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let mut found = Vec::new();
        for method in methods {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let mut work = Vec::new();
            for words in [existing, missing] {
                let body = filled_message(&method.input(), words, 3).encode_to_vec();
                work.push(self.work_of(token, &path, body).await);
            }
            if work[0] != work[1] {
                let name = format!("{}/{}", method.parent_service().name(), method.name());
                println!("{caller} {name}: {} operations if the subject exists, {} if not", work[0], work[1]);
                found.push(name);
            }
        }
        found
    }
}

/// Methods that do one more read if the caller names an existing grant or request of another subject, because
/// the store looks up its id. This reveals nothing new: ids cannot be guessed, so the caller already knew
/// that the grant or request existed.
const BY_ID: [&str; 4] = [
    "GrantService/ExplainGrant",
    "RightsService/GetErasureCertificate",
    "RightsService/GetRequest",
    "RightsService/WithdrawRequest",
];

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_may_not_reveal_a_subject_cost_the_same_store_work_if_it_exists_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path()).await;
    let existing =
        populated_subject(&served.channel, |role, name| served.token(0, claim_for(role), name)).await;
    let work = served.work.load(Ordering::SeqCst);
    assert!(work > 20, "operations are counted: {work}");
    let (guessed, missing) =
        (unknown_subject_words(&existing, true), unknown_subject_words(&existing, false));
    for (claim, name) in ROLES {
        // The callers of the other controller have the same names as the callers that know the subject.
        let role = claim.role;
        let name = match role {
            Role::Service => "tutor",
            Role::Steward => "mina",
            _ => name,
        };
        let elsewhere = served.token(1, claim, name);
        let found = served
            .methods_that_differ("caller of another controller:", &elsewhere, &existing, &missing)
            .await;
        assert!(found.is_empty(), "{role:?} of another controller: {found:?}");
    }
    let eve = served.token(0, Role::Subject.into(), "eve");
    let found = served.methods_that_differ("another subject, with guesses:", &eve, &existing, &guessed).await;
    assert!(found.is_empty(), "another subject, with guesses: {found:?}");
    let found = served.methods_that_differ("another subject, with ids:", &eve, &existing, &missing).await;
    assert_eq!(found, BY_ID, "another subject, with ids");
    for app in served.apps {
        app.shutdown().await;
    }
}
