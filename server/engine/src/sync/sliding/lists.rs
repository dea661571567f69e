//! Which rooms are in the windows of an answer.
//!
//! A person's rooms are sorted by when they last changed, which is known without the rooms; what
//! lists are filtered by is, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::SyncError;
use super::look::Look;
use super::marks::Tags;
use super::order::{Entry, FactsByRoom, Person};
use super::put_out::PutOut;
use super::request::{Filters, List};
use super::told::Standing;
use super::wanted::Wanted;
use crate::rooms::Memberships;
use crate::rooms::facts::{Created, Facts};

/// A rule by which rooms are matched.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) limit: usize,
    pub(super) wanted: Arc<Wanted>,
}

/// The rules of a request: those of its lists, in order, then those of the rooms subscribed to.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) all: Vec<Rule>,
    /// The rule of each room subscribed to.
    pub(super) subscribed: BTreeMap<i64, usize>,
}

/// What is asked of a room: the sum of the rules that match it.
#[derive(Debug)]
pub(super) struct Sum {
    /// So many of its newest events.
    pub(super) limit: usize,
    /// This state.
    pub(super) wanted: Arc<Wanted>,
    /// The rules, by place.
    pub(super) rules: Vec<usize>,
}

/// The rooms of an answer.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// What is asked of each.
    pub(super) rooms: BTreeMap<i64, Arc<Sum>>,
    /// When each last changed, as far as its person may know.
    pub(super) positions: BTreeMap<i64, i64>,
    /// When the receipts of those that their person is in last changed.
    pub(super) receipts: BTreeMap<i64, i64>,
    /// How many rooms are in each list.
    pub(super) counts: Vec<usize>,
}

impl Look<'_> {
    /// The rooms that the request is about.
    pub(super) async fn choose(&self, memberships: &Arc<Memberships>) -> Result<Chosen, SyncError> {
        let lists = &self.request.body.lists;
        let mut chosen = Chosen::default();
        if lists.is_empty() && self.rules.subscribed.is_empty() {
            return Ok(chosen);
        }
        let mut matched: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        let entries = self
            .sync
            .sliding
            .orders
            .entries(&self.sync.rooms, self.person(memberships))
            .await?;
        let hidden = self.hidden(memberships, &entries).await?;
        let listed = self.listed(memberships, (&entries, &hidden)).await?;
        for (place, list) in lists.values().enumerate() {
            let sieve = self
                .sieve(list.filters.as_ref(), memberships, &listed)
                .await?;
            let mut count = 0;
            for entry in listed.iter().filter(|entry| sieve.passes(entry)) {
                if list.has(count) {
                    matched.entry(entry.nid).or_default().push(place);
                }
                count += 1;
            }
            chosen
                .counts
                .push(usize::try_from(count).unwrap_or(usize::MAX));
        }
        for (nid, rule) in &self.rules.subscribed {
            if memberships.contains_key(nid) && !hidden.contains(nid) {
                matched.entry(*nid).or_default().push(*rule);
            }
        }
        let positions = entries
            .iter()
            .filter(|entry| matched.contains_key(&entry.nid));
        let is_in = |entry: &&Entry| entry.standing == Standing::Joined;
        let joined = positions.clone().filter(is_in).map(|entry| entry.nid);
        chosen.receipts = self.sync.receipts.positions(joined).await?;
        chosen.positions = positions.map(|entry| (entry.nid, entry.position)).collect();
        chosen.rooms = self.sums(matched);
        Ok(chosen)
    }

    /// Adds the rules of each room up.
    fn sums(&self, matched: BTreeMap<i64, Vec<usize>>) -> BTreeMap<i64, Arc<Sum>> {
        let mut sums: BTreeMap<Vec<usize>, Arc<Sum>> = BTreeMap::new();
        let mut rooms = BTreeMap::new();
        for (nid, rules) in matched {
            let sum = match sums.get(&rules) {
                Some(sum) => Arc::clone(sum),
                None => {
                    let sum = Arc::new(self.sum(&rules));
                    sums.insert(rules, Arc::clone(&sum));
                    sum
                }
            };
            rooms.insert(nid, sum);
        }
        rooms
    }

    fn sum(&self, places: &[usize]) -> Sum {
        let rules = || places.iter().filter_map(|place| self.rules.all.get(*place));
        let mut wanted: Option<Arc<Wanted>> = None;
        for rule in rules() {
            wanted = Some(match wanted {
                Some(sum) if sum.includes(&rule.wanted) => sum,
                Some(sum) => self.connection.state().known(sum.with(&rule.wanted)),
                None => Arc::clone(&rule.wanted),
            });
        }
        Sum {
            limit: rules().map(|rule| rule.limit).max().unwrap_or_default(),
            wanted: wanted.unwrap_or_default(),
            rules: places.to_vec(),
        }
    }

    fn person<'p>(&self, memberships: &'p Arc<Memberships>) -> Person<'p> {
        Person {
            user_nid: self.request.session.user_nid,
            memberships,
            until: self.until,
        }
    }

    /// Rooms that their person does not want to see: those that they forgot, once the client knows that
    /// they left, and invites that they do not want.
    async fn hidden(
        &self,
        memberships: &Memberships,
        entries: &[Entry],
    ) -> Result<BTreeSet<i64>, SyncError> {
        let (rooms, user_nid) = (&self.sync.rooms, self.request.session.user_nid);
        let ignored = rooms.ignored.of(user_nid).await?;
        let mut hidden = BTreeSet::new();
        let others = entries
            .iter()
            .filter(|entry| entry.standing != Standing::Joined);
        for entry in others {
            let Some(member) = memberships.get(&entry.nid) else {
                continue;
            };
            let is_hidden = match entry.standing {
                Standing::Invited => rooms.is_unwanted(entry.nid, member, &ignored).await?,
                Standing::Out => member.forgotten && !self.is_to_be_told(entry.nid),
                Standing::Joined | Standing::Knocked => false,
            };
            if is_hidden {
                hidden.insert(entry.nid);
            }
        }
        Ok(hidden)
    }

    /// The rooms that are in lists, the one that changed last first. Those that somebody left
    /// themselves are there only until the client knows of it.
    async fn listed(
        &self,
        memberships: &Arc<Memberships>,
        (entries, hidden): (&[Entry], &BTreeSet<i64>),
    ) -> Result<Vec<Entry>, SyncError> {
        if self.request.body.lists.is_empty() {
            return Ok(Vec::new());
        }
        let put_out = self.put_out(memberships).await?;
        let is_listed = |entry: &&Entry| match entry.standing {
            Standing::Joined => true,
            Standing::Invited | Standing::Knocked => !hidden.contains(&entry.nid),
            Standing::Out => {
                let is_told = put_out.contains_key(&entry.nid) || self.is_to_be_told(entry.nid);
                is_told && !hidden.contains(&entry.nid)
            }
        };
        Ok(entries.iter().filter(is_listed).copied().collect())
    }

    /// Whether the client knows a room from inside that its person has left.
    fn is_to_be_told(&self, nid: i64) -> bool {
        let told = self.told.get(&nid);
        told.is_some_and(|told| told.standing != Standing::Out)
    }

    async fn put_out(&self, memberships: &Arc<Memberships>) -> Result<Arc<PutOut>, SyncError> {
        let person = (self.request.session.user_nid, self.user_id());
        let put_outs = &self.sync.sliding.put_outs;
        Ok(put_outs.of(&self.sync.rooms, person, memberships).await?)
    }

    /// What a list is filtered by.
    async fn sieve<'f>(
        &'f self,
        filters: Option<&'f Filters>,
        memberships: &Arc<Memberships>,
        entries: &[Entry],
    ) -> Result<Sieve<'f>, SyncError> {
        let mut sieve = Sieve {
            look: self,
            filters,
            facts: Arc::default(),
            facts_outside: FactsByRoom::new(),
            tags: Arc::default(),
            children: None,
        };
        let Some(filters) = filters else {
            return Ok(sieve);
        };
        let sliding = &self.sync.sliding;
        if filters.tags.is_some() || filters.not_tags.is_some() {
            let user_nid = self.request.session.user_nid;
            let marks = &sliding.marks;
            sieve.tags = marks.tags(&self.sync.ctx, user_nid, &self.watch).await?;
        }
        if let Some(spaces) = &filters.spaces {
            let of = (spaces.as_slice(), &**memberships);
            let children = &sliding.spaces;
            let children = children
                .children(&self.sync.rooms, &sliding.places, of)
                .await?;
            sieve.children = Some(children);
        }
        let asks_for_facts = filters.is_encrypted.is_some()
            || filters.room_types.is_some()
            || filters.not_room_types.is_some();
        if asks_for_facts {
            let (rooms, person) = (&self.sync.rooms, self.person(memberships));
            sieve.facts = sliding.orders.facts(rooms, person).await?;
            sieve.facts_outside = self.facts_outside(memberships, entries).await?;
        }
        Ok(sieve)
    }

    /// The facts of rooms that their person is not in, as far as they may know them.
    async fn facts_outside(
        &self,
        memberships: &Arc<Memberships>,
        entries: &[Entry],
    ) -> Result<FactsByRoom, SyncError> {
        let rooms = &self.sync.rooms;
        let is_shown = |entry: &&Entry| {
            let standing = entry.standing;
            matches!(standing, Standing::Invited | Standing::Knocked)
        };
        let shown = entries.iter().filter(is_shown);
        let shown: Vec<i64> = shown.map(|entry| entry.nid).collect();
        let mut facts = FactsByRoom::new();
        if !shown.is_empty() {
            let shown = rooms.shown_to(self.request.session.user_nid, &shown);
            for (nid, state) in shown.await? {
                facts.insert(nid, shown_facts(&state));
            }
        }
        let put_out = self.put_out(memberships).await?;
        facts.extend(put_out.iter().map(|(nid, facts)| (*nid, facts.clone())));
        Ok(facts)
    }
}

/// What the stripped state of a room says.
fn shown_facts(state: &[u8]) -> Facts {
    #[derive(serde::Deserialize)]
    struct Stripped<'a> {
        #[serde(rename = "type")]
        kind: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        content: &'a serde_json::value::RawValue,
    }
    let events: Vec<Stripped<'_>> = serde_json::from_slice(state).unwrap_or_default();
    let created = events.iter().find(|event| event.kind == "m.room.create");
    let created =
        created.and_then(|event| serde_json::from_str::<Created>(event.content.get()).ok());
    Facts {
        is_encrypted: events.iter().any(|event| event.kind == "m.room.encryption"),
        kind: created.and_then(|created| created.kind).map(Arc::from),
    }
}

/// Decides which rooms are in a list.
struct Sieve<'f> {
    look: &'f Look<'f>,
    filters: Option<&'f Filters>,
    /// Of the rooms that their person is in.
    facts: Arc<FactsByRoom>,
    /// Of others.
    facts_outside: FactsByRoom,
    tags: Arc<Tags>,
    children: Option<BTreeSet<i64>>,
}

impl Sieve<'_> {
    fn passes(&self, entry: &Entry) -> bool {
        let Some(filters) = self.filters else {
            return true;
        };
        let nid = &entry.nid;
        let facts = match entry.standing {
            Standing::Joined => self.facts.get(nid),
            _ => self.facts_outside.get(nid),
        };
        // What somebody left and does not know of passes whatever is known of it.
        let is_known = facts.is_some() || entry.standing != Standing::Out;
        is_asked(filters.is_dm, self.look.direct.contains(nid))
            && is_asked(filters.is_invite, entry.standing == Standing::Invited)
            && self
                .children
                .as_ref()
                .is_none_or(|children| children.contains(nid))
            && self.has_tags(filters, *nid)
            && (!is_known || has_facts(filters, facts))
    }

    fn has_tags(&self, filters: &Filters, nid: i64) -> bool {
        let has = |names: &Vec<String>| {
            let tags = self.tags.get(&nid);
            tags.is_some_and(|tags| tags.iter().any(|tag| names.contains(tag)))
        };
        filters.tags.as_ref().is_none_or(has) && !filters.not_tags.as_ref().is_some_and(has)
    }
}

fn has_facts(filters: &Filters, facts: Option<&Facts>) -> bool {
    let (is_encrypted, kind) = match facts {
        Some(facts) => (facts.is_encrypted, facts.kind.as_deref()),
        None => (false, None),
    };
    let is_one_of = |kinds: &Vec<Option<String>>| kinds.iter().any(|it| it.as_deref() == kind);
    is_asked(filters.is_encrypted, is_encrypted)
        && filters.room_types.as_ref().is_none_or(is_one_of)
        && !filters.not_room_types.as_ref().is_some_and(is_one_of)
}

fn is_asked(asked: Option<bool>, it: bool) -> bool {
    asked.is_none_or(|asked| asked == it)
}

impl Rules {
    /// Whether a room is one that an extension is asked about: by the lists that it is in, or as one
    /// of those subscribed to.
    pub(super) fn concern(
        &self,
        sum: &Sum,
        lists: &BTreeMap<String, List>,
        (wanted_lists, wanted_rooms): (Option<&[String]>, impl Fn() -> bool),
    ) -> bool {
        let names = || {
            sum.rules
                .iter()
                .filter_map(|place| lists.keys().nth(*place))
        };
        let by_list = match wanted_lists {
            None => sum.rules.iter().any(|place| *place < lists.len()),
            Some(wanted) => names().any(|name| wanted.contains(name)),
        };
        by_list || (sum.rules.iter().any(|place| *place >= lists.len()) && wanted_rooms())
    }
}
