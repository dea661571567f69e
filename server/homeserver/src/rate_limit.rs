//! How often a person, an address or a server may ask for what.
//!
//! A bucket is one number: the moment at which it is full again (the generic cell rate algorithm).
//! Memory is bounded by two generations of buckets: when the young one is full it becomes the old
//! one, and what the old one held is forgotten. A bucket in use moves to the young generation, so
//! only keys that were not seen for a whole generation lose their history.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use hearth_types::ruma::{OwnedServerName, OwnedUserId};

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateClass {
    /// Never limited: health checks, the admin socket.
    Unlimited,
    /// Cheap reads.
    Read,
    /// Long-polled reads: `/sync`.
    Sync,
    /// Changes: messages, state, receipts, account data.
    Write,
    /// Changes that are costly for many: rooms, joins, invites, reports.
    Heavy,
    /// Attempts at a password or token.
    Login,
    /// Wrong passwords for one account, wherever they come from.
    WrongPassword,
    /// New accounts.
    Register,
    /// Device keys and key backups.
    Keys,
    /// Uploads, downloads, thumbnails, previews.
    Media,
    /// Other servers.
    Federation,
    /// Requests whose token is not known.
    Refused,
}

impl RateClass {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Unlimited,
        Self::Read,
        Self::Sync,
        Self::Write,
        Self::Heavy,
        Self::Login,
        Self::WrongPassword,
        Self::Register,
        Self::Keys,
        Self::Media,
        Self::Federation,
        Self::Refused,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unlimited => "unlimited",
            Self::Read => "read",
            Self::Sync => "sync",
            Self::Write => "write",
            Self::Heavy => "heavy",
            Self::Login => "login",
            Self::WrongPassword => "wrong_password",
            Self::Register => "register",
            Self::Keys => "keys",
            Self::Media => "media",
            Self::Federation => "federation",
            Self::Refused => "refused",
        }
    }

    /// Requests at once, and milliseconds until one more is allowed.
    const fn burst_and_interval_ms(self) -> Option<(i64, i64)> {
        Some(match self {
            Self::Unlimited => return None,
            Self::Read => (300, 10),
            Self::Sync => (60, 50),
            Self::Write => (100, 50),
            Self::Heavy => (30, 1_000),
            // By address: an office behind one address signs in on Monday morning.
            Self::Login => (30, 2_000),
            // Who is attacked waits no longer than this once the attack ends.
            Self::WrongPassword => (20, 10_000),
            Self::Register => (20, 5_000),
            Self::Keys => (100, 50),
            Self::Media => (200, 20),
            Self::Federation => (1_000, 5),
            // By address: everybody behind it may have been logged out at once.
            Self::Refused => (300, 100),
        })
    }
}

/// Who is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A person, whatever the device and address.
    User(OwnedUserId),
    /// Another server.
    Server(OwnedServerName),
    /// An address; of IPv6 the /64 that one household or host has.
    Address(IpAddr),
}

impl Subject {
    /// The subject of an address.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::Address(match address {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The buckets of all subjects.
#[derive(Debug)]
pub struct RateLimiter {
    generations: Option<Mutex<Generations>>,
}

type Buckets = HashMap<(RateClass, Subject), i64>;

#[derive(Debug)]
struct Generations {
    young: Buckets,
    old: Buckets,
    size_max: usize,
}

impl RateLimiter {
    /// A limiter that remembers up to twice `size_max` buckets.
    #[must_use]
    pub fn new(size_max: usize) -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self {
            generations: Some(Mutex::new(Generations {
                young,
                old,
                size_max,
            })),
        }
    }

    /// A limiter that lets everything pass.
    #[must_use]
    pub fn off() -> Self {
        Self { generations: None }
    }

    /// Takes one from a bucket.
    ///
    /// # Errors
    /// The milliseconds until the next request is allowed.
    pub fn take(&self, class: RateClass, subject: Subject, now_ms: i64) -> Result<(), i64> {
        let (Some(generations), Some((burst, interval_ms))) =
            (&self.generations, class.burst_and_interval_ms())
        else {
            return Ok(());
        };
        let mut generations = generations.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at_ms = generations.bucket((class, subject));
        let next_ms = (*full_at_ms).max(now_ms) + interval_ms;
        let wait_ms = next_ms - now_ms - burst * interval_ms;
        if wait_ms > 0 {
            return Err(wait_ms);
        }
        *full_at_ms = next_ms;
        Ok(())
    }

    /// Gives back what was taken from a bucket for something that turned out not to count.
    pub fn give_back(&self, class: RateClass, subject: Subject) {
        let (Some(generations), Some((_, interval_ms))) =
            (&self.generations, class.burst_and_interval_ms())
        else {
            return;
        };
        let mut generations = generations.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at_ms = generations.bucket((class, subject));
        *full_at_ms = full_at_ms.saturating_sub(interval_ms);
    }
}

impl Generations {
    fn bucket(&mut self, key: (RateClass, Subject)) -> &mut i64 {
        if self.young.len() >= self.size_max {
            self.old = std::mem::take(&mut self.young);
        }
        let known = self.old.remove(&key);
        self.young
            .entry(key)
            .or_insert_with(|| known.unwrap_or(i64::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(n: u32) -> Subject {
        Subject::address(IpAddr::V4(n.into()))
    }

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let limiter = RateLimiter::new(100);
        for _ in 0..30 {
            assert_eq!(limiter.take(RateClass::Login, subject(1), 1_000), Ok(()));
        }
        assert_eq!(
            limiter.take(RateClass::Login, subject(1), 1_000),
            Err(2_000)
        );
        assert_eq!(limiter.take(RateClass::Login, subject(1), 2_500), Err(500));
        assert_eq!(limiter.take(RateClass::Login, subject(1), 3_000), Ok(()));
        assert!(limiter.take(RateClass::Login, subject(1), 3_000).is_err());
    }

    #[test]
    fn what_is_given_back_counts_for_nothing() {
        let limiter = RateLimiter::new(100);
        for _ in 0..1_000 {
            limiter.take(RateClass::Login, subject(1), 0).unwrap();
            limiter.give_back(RateClass::Login, subject(1));
        }
        limiter.give_back(RateClass::Login, subject(2));
        assert!(limiter.take(RateClass::Login, subject(2), 0).is_ok());
    }

    #[test]
    fn subjects_and_classes_do_not_disturb_each_other() {
        let limiter = RateLimiter::new(100);
        while limiter.take(RateClass::Login, subject(1), 0).is_ok() {}
        assert!(limiter.take(RateClass::Login, subject(2), 0).is_ok());
        assert!(limiter.take(RateClass::Read, subject(1), 0).is_ok());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_share_a_bucket() {
        let (a, b) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::ffff:1".parse().unwrap(),
        );
        assert_eq!(Subject::address(a), Subject::address(b));
        assert_ne!(
            Subject::address(a),
            Subject::address("2001:db8:0:1::1".parse().unwrap())
        );
    }

    #[test]
    fn memory_is_bounded_and_a_busy_subject_is_not_forgotten() {
        let limiter = RateLimiter::new(10);
        while limiter.take(RateClass::Login, subject(0), 0).is_ok() {}
        for n in 1..1_000 {
            limiter.take(RateClass::Login, subject(n), 0).unwrap();
            assert!(limiter.take(RateClass::Login, subject(0), 0).is_err());
        }
        let generations = limiter.generations.as_ref().unwrap().lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 20);
    }

    #[test]
    fn a_limiter_that_is_off_never_refuses() {
        let limiter = RateLimiter::off();
        assert!((0..10_000).all(|_| limiter.take(RateClass::Register, subject(1), 0).is_ok()));
    }
}
