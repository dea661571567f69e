//! The pretend network: what becomes of each call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hearth::app::Parts;
use hearth_engine::peers::PeerError;
use hearth_types::ruma::{OwnedServerName, ServerName};

use crate::hosts::Host;
use crate::random::Random;

/// What happens to one call.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    before: Duration,
    after: Duration,
    request_lost: bool,
    answer_lost: bool,
    /// It arrives a second time, so much later.
    again: Option<Duration>,
    /// A byte of what it carries, or of what is answered, is not what it was.
    pub(crate) corrupts: bool,
    /// Events that it carries come in another order.
    pub(crate) shuffles: bool,
    pub(crate) random: Random,
}

impl Weather {
    pub(crate) fn without_corruption(&self) -> Self {
        Self {
            corrupts: false,
            ..self.clone()
        }
    }
}

/// An event that one server handed to another.
#[derive(Debug, Clone)]
pub(crate) struct Handed {
    pub(crate) from: OwnedServerName,
    pub(crate) to: OwnedServerName,
    pub(crate) how: &'static str,
    pub(crate) json: Bytes,
}

/// What the network is asked: what becomes of the n-th call of a kind on a link, counted anew when
/// the weather turns, so that a call's fate does not depend on how many were made before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Forecast {
    pub(crate) from: OwnedServerName,
    pub(crate) to: OwnedServerName,
    pub(crate) kind: &'static str,
    pub(crate) calm: bool,
    pub(crate) nth: u64,
}

/// The network between all servers.
pub(crate) struct Network {
    seed: u64,
    /// The world owns them, and they reach each other through this.
    hosts: OnceLock<BTreeMap<OwnedServerName, Weak<Host>>>,
    calls: Mutex<BTreeMap<Forecast, u64>>,
    forecasts: Mutex<BTreeMap<Forecast, String>>,
    /// The sides of a partition, by server; empty when there is none.
    sides: Mutex<BTreeMap<OwnedServerName, u64>>,
    calm: AtomicBool,
    under_way: AtomicI64,
    handed: Mutex<Vec<Handed>>,
    pushed: Mutex<Vec<(OwnedServerName, OwnedServerName, Bytes)>>,
    /// Events that were sent and came as something else.
    spoiled: Mutex<Vec<(OwnedServerName, Bytes)>>,
    /// How often each thing happened.
    happened: Mutex<BTreeMap<&'static str, u64>>,
}

struct UnderWay<'a>(&'a AtomicI64);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Network {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            seed,
            hosts: OnceLock::new(),
            calls: Mutex::default(),
            forecasts: Mutex::default(),
            sides: Mutex::default(),
            calm: AtomicBool::new(true),
            under_way: AtomicI64::new(0),
            handed: Mutex::default(),
            pushed: Mutex::default(),
            spoiled: Mutex::default(),
            happened: Mutex::default(),
        })
    }

    pub(crate) fn connect(&self, hosts: &[Arc<Host>]) {
        let hosts = hosts
            .iter()
            .map(|host| (host.name.clone(), Arc::downgrade(host)))
            .collect();
        assert!(self.hosts.set(hosts).is_ok());
    }

    /// Whether nothing goes wrong from now on.
    pub(crate) fn set_calm(&self, calm: bool) {
        self.calm.store(calm, Ordering::SeqCst);
        if calm {
            self.sides.lock().unwrap().clear();
        }
    }

    pub(crate) fn part(&self, sides: BTreeMap<OwnedServerName, u64>) {
        *self.sides.lock().unwrap() = sides;
    }

    pub(crate) fn under_way(&self) -> i64 {
        self.under_way.load(Ordering::SeqCst)
    }

    pub(crate) fn note(&self, what: &'static str) {
        *self.happened.lock().unwrap().entry(what).or_default() += 1;
    }

    pub(crate) fn happened(&self) -> BTreeMap<&'static str, u64> {
        self.happened.lock().unwrap().clone()
    }

    pub(crate) fn hand(&self, handed: Handed) {
        self.handed.lock().unwrap().push(handed);
    }

    pub(crate) fn pushed_events(&self) -> Vec<(OwnedServerName, OwnedServerName, Bytes)> {
        self.pushed.lock().unwrap().clone()
    }

    pub(crate) fn handed(&self) -> Vec<Handed> {
        self.handed.lock().unwrap().clone()
    }

    fn connected(&self, from: &ServerName, to: &ServerName) -> bool {
        let sides = self.sides.lock().unwrap();
        sides.get(from) == sides.get(to)
    }

    fn host(&self, name: &ServerName) -> Option<Arc<Host>> {
        self.hosts.get()?.get(name)?.upgrade()
    }

    /// What happens to the next call of this kind on this link.
    pub(crate) fn weather(
        &self,
        from: &ServerName,
        to: &ServerName,
        kind: &'static str,
    ) -> Weather {
        let calm = self.calm.load(Ordering::SeqCst);
        let mut call = Forecast {
            from: from.to_owned(),
            to: to.to_owned(),
            kind,
            calm,
            nth: 0,
        };
        let mut calls = self.calls.lock().unwrap();
        let count = calls.entry(call.clone()).or_default();
        *count += 1;
        call.nth = *count;
        drop(calls);
        let weather = self.weather_of(&call);
        let told = format!("{weather:?}");
        self.forecasts.lock().unwrap().insert(call, told);
        weather
    }

    /// What was decided on each call that was made.
    pub(crate) fn forecasts(&self) -> BTreeMap<Forecast, String> {
        self.forecasts.lock().unwrap().clone()
    }

    fn weather_of(&self, call: &Forecast) -> Weather {
        let calm = call.calm;
        let season = if calm { "calm" } else { "storm" };
        let about = [call.from.as_str(), call.to.as_str(), call.kind, season];
        let mut random = Random::of(self.seed, &about, call.nth);
        let mut of = |times: u64| random.in_thousand(times) && !calm;
        let request_lost = of(70);
        let answer_lost = of(60);
        let again = of(80);
        let corrupts = of(15);
        let shuffles = of(200);
        let slow = of(60);
        let mut delay = |most: u64| Duration::from_micros(random.below(most));
        let most = match (calm, slow) {
            (true, _) => 100,
            (false, true) => 20_000,
            (false, false) => 1_500,
        };
        let (before, after, later) = (delay(most), delay(most.min(1_000)), delay(15_000));
        Weather {
            before,
            after,
            request_lost,
            answer_lost,
            again: again.then_some(later),
            corrupts,
            shuffles,
            random,
        }
    }

    /// Has another server answer, as far as the weather lets it.
    pub(crate) async fn call<T, S>(
        self: &Arc<Self>,
        (from, to): (&ServerName, &ServerName),
        kind: &'static str,
        weather: &Weather,
        serve: S,
    ) -> Result<T, PeerError>
    where
        T: Send + 'static,
        S: Fn(Arc<Parts>) -> BoxFuture<'static, Result<T, PeerError>> + Send + Sync + 'static,
    {
        let lost = |why: &'static str| {
            self.note(why);
            PeerError::Unreachable {
                server: to.to_string(),
                why: why.to_owned(),
            }
        };
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay(&self.under_way);
        self.note(kind);
        tokio::time::sleep(weather.before).await;
        if !self.connected(from, to) {
            return Err(lost("parted"));
        }
        if weather.request_lost {
            return Err(lost("request lost"));
        }
        let Some(host) = self.host(to) else {
            return Err(lost("no such server"));
        };
        let (serve, origin) = (Arc::new(serve), from.to_owned());
        let hears = move |parts: Arc<Parts>| {
            let serving = serve(Arc::clone(&parts));
            let origin = origin.clone();
            async move {
                parts.outbox.heard_from(&origin).await;
                serving.await
            }
        };
        if let Some(later) = weather.again {
            self.note("repeated");
            let (network, host, hears) = (Arc::clone(self), Arc::clone(&host), hears.clone());
            network.under_way.fetch_add(1, Ordering::SeqCst);
            detach(async move {
                let _under_way = UnderWay(&network.under_way);
                tokio::time::sleep(later).await;
                drop(host.run(hears).await);
            });
        }
        let answer = host.run(hears).await;
        tokio::time::sleep(weather.after).await;
        if weather.answer_lost {
            return Err(lost("answer lost"));
        }
        if !self.connected(from, to) {
            return Err(lost("parted"));
        }
        answer.unwrap_or_else(|| Err(lost("down")))
    }

    /// Remembers an event that does not come to a server as it was sent.
    pub(crate) fn spoil(&self, to: &ServerName, pdu: Option<&Bytes>) {
        let pdu = pdu.map(|pdu| (to.to_owned(), pdu.clone()));
        self.spoiled.lock().unwrap().extend(pdu);
    }

    pub(crate) fn spoiled(&self) -> Vec<(OwnedServerName, Bytes)> {
        self.spoiled.lock().unwrap().clone()
    }

    /// Remembers what one server sends to another of its own accord.
    pub(crate) fn pushed(&self, from: &ServerName, to: &ServerName, pdus: &[Bytes]) {
        let mut pushed = self.pushed.lock().unwrap();
        for pdu in pdus {
            pushed.push((from.to_owned(), to.to_owned(), pdu.clone()));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test owns its tasks")]
fn detach(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

/// Makes one byte of one event another one.
pub(crate) fn corrupt(random: &mut Random, pdus: &mut [Bytes]) {
    if pdus.is_empty() {
        return;
    }
    let at = random.index(pdus.len());
    let mut bytes = pdus[at].to_vec();
    let byte = random.index(bytes.len());
    bytes[byte] ^= 1 << random.below(7);
    pdus[at] = bytes.into();
}
