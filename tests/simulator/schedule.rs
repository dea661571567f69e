//! What a seed decides: who there is, how it begins, what happens at each step.
//!
//! All of it is decided before anything happens, each step by randomness of its own. So neither how
//! fast threads are nor what came of other steps changes what happens at one.

use std::time::Duration;

use hearth_engine::rooms::create::Preset;
use hearth_protocol::room_version::ROOM_VERSIONS;
use hearth_storage::writer::interrupt::Stage;

use crate::actions::{Act, VISIBILITIES};
use crate::random::Random;

/// The servers that there may be: the first three or all.
pub(crate) const SERVERS: [&str; 4] = ["a.sim", "b.sim", "c.sim", "d.sim"];
/// Who lives on each server. People are numbered server by server.
pub(crate) const PEOPLE: [&str; 2] = ["ann", "ben"];

/// What one seed decides.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) servers: usize,
    /// The server that keeps to no rule.
    pub(crate) rogue: Option<usize>,
    /// Who does what before anything goes wrong.
    pub(crate) opening: Vec<(usize, Act)>,
    pub(crate) steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Whether a partition ends here.
    pub(crate) heals: bool,
    /// The server that crashed, or may have, and is to run from here on.
    pub(crate) back: Option<usize>,
    pub(crate) turn: Turn,
    /// Whether everybody's answers are waited for.
    pub(crate) waits: bool,
    pub(crate) clock_ms: i64,
    pub(crate) pause: Duration,
}

/// What happens at a step.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    /// Each server is on one of two sides, which do not hear of each other.
    Part(Vec<u64>),
    /// Two people who have power use it against each other while they are parted.
    Fight(Vec<u64>, Vec<(usize, Act)>),
    Crash(usize),
    /// A process will end inside a transaction, after so many more.
    Trap {
        host: usize,
        after: i64,
        stage: Stage,
    },
    /// The rogue sends something of its making into a room.
    Strike {
        room: usize,
        nth: u64,
    },
    /// Somebody sends again what was not acknowledged.
    Again,
    Act {
        who: usize,
        doing: Act,
        twice: bool,
    },
}

impl Schedule {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::of(seed, &["scenario"], 0);
        let servers = SERVERS.len() - random.index(2);
        let rogue = random.in_thousand(400).then_some(1);
        let (opening, powerful) = opening(&mut random, servers);
        let steps = 40 + random.below(60);
        let mut planner = Planner {
            servers,
            powerful,
            has_rogue: rogue.is_some(),
            parted_until: None,
            back_at: None,
        };
        let steps = (0..steps)
            .map(|step| planner.step(step, Random::of(seed, &["step"], step)))
            .collect();
        Self {
            servers,
            rogue,
            opening,
            steps,
        }
    }
}

/// One or two rooms, most with everybody in them and power in several hands; by room, who was given
/// much power.
fn opening(random: &mut Random, servers: usize) -> (Vec<(usize, Act)>, Vec<Vec<usize>>) {
    let people = servers * PEOPLE.len();
    let (mut acts, mut powerful) = (Vec::new(), Vec::new());
    for room in 0..1 + random.index(2) {
        let creator = random.index(people);
        let preset = match random.below(4) {
            0 => Preset::PrivateChat,
            _ => Preset::PublicChat,
        };
        acts.push((creator, create(random, preset)));
        let mut mighty = vec![creator];
        for who in (0..people).filter(|who| *who != creator) {
            if random.in_thousand(250) {
                continue;
            }
            acts.push((creator, member(room, who, "invite")));
            let via = host_of(creator);
            acts.push((who, Act::Join { room, via }));
            if random.in_thousand(700) {
                let level = *random.pick(&[50, 100, 100, 100]);
                acts.push((creator, power(room, who, level)));
                mighty.extend((level == 100).then_some(who));
            }
        }
        powerful.push(mighty);
    }
    (acts, powerful)
}

fn host_of(person: usize) -> usize {
    person / PEOPLE.len()
}

/// Mostly the newest room version; each other one now and then.
fn create(random: &mut Random, preset: Preset) -> Act {
    let version = match random.below(3) {
        0 => random.pick(&ROOM_VERSIONS).id,
        _ => "12",
    };
    Act::Create {
        version,
        preset,
        visibility: random.word(&VISIBILITIES),
    }
}

fn member(room: usize, target: usize, membership: &'static str) -> Act {
    Act::Member {
        room,
        target,
        membership,
    }
}

fn power(room: usize, target: usize, level: i64) -> Act {
    Act::Power {
        room,
        target,
        level,
    }
}

fn say(room: usize, uid: String, txn: bool) -> Act {
    Act::Say { room, uid, txn }
}

/// Decides one step after the other. What it remembers was decided, not observed.
struct Planner {
    servers: usize,
    powerful: Vec<Vec<usize>>,
    has_rogue: bool,
    /// The step at which the partition heals, while there is one.
    parted_until: Option<u64>,
    /// The server that is down, or trapped, and the step at which it is back.
    back_at: Option<(usize, u64)>,
}

impl Planner {
    fn step(&mut self, step: u64, mut random: Random) -> Step {
        let heals = self.parted_until.take_if(|until| *until <= step).is_some();
        let back = self.back_at.take_if(|(_, at)| *at <= step);
        let turn = self.turn(step, &mut random);
        Step {
            heals,
            back: back.map(|(host, _)| host),
            turn,
            waits: random.in_thousand(100),
            clock_ms: 1 + i64::try_from(random.below(50)).unwrap(),
            pause: Duration::from_micros(random.below(1_500)),
        }
    }

    fn turn(&mut self, step: u64, random: &mut Random) -> Turn {
        match random.below(1_000) {
            0..25 if self.parted_until.is_none() => {
                self.parted_until = Some(step + 5 + random.below(20));
                Turn::Part((0..self.servers).map(|_| random.below(2)).collect())
            }
            25..55 if self.back_at.is_none() => self.crash(step, random),
            55..90 if self.parted_until.is_none() => {
                let fight = self.fight(step, random);
                fight.unwrap_or_else(|| self.act(step, random))
            }
            90..130 if self.has_rogue => Turn::Strike {
                room: random.index(self.powerful.len()),
                nth: random.next(),
            },
            130..180 => Turn::Again,
            _ => self.act(step, random),
        }
    }

    fn act(&self, step: u64, random: &mut Random) -> Turn {
        let doing = self.choose(step, random);
        let again = matches!(doing, Act::Say { txn: true, .. });
        Turn::Act {
            who: random.index(self.people()),
            doing,
            twice: again && random.in_thousand(300),
        }
    }

    fn people(&self) -> usize {
        self.servers * PEOPLE.len()
    }

    fn crash(&mut self, step: u64, random: &mut Random) -> Turn {
        let host = random.index(self.servers);
        self.back_at = Some((host, step + 1 + random.below(8)));
        match random.in_thousand(600) {
            true => Turn::Trap {
                host,
                after: i64::try_from(random.below(4)).unwrap(),
                stage: *random.pick(&[Stage::BeforeCommit, Stage::AfterCommit]),
            },
            false => Turn::Crash(host),
        }
    }

    /// A fight between two of the powerful of a room, if they are not all of one server.
    fn fight(&mut self, step: u64, random: &mut Random) -> Option<Turn> {
        let room = random.index(self.powerful.len());
        let mut powerful = self.powerful[room].clone();
        random.shuffle(&mut powerful);
        let one = powerful[0];
        let two = powerful
            .into_iter()
            .find(|who| host_of(*who) != host_of(one))?;
        let mut sides: Vec<u64> = (0..self.servers).map(|_| random.below(2)).collect();
        (sides[host_of(one)], sides[host_of(two)]) = (0, 1);
        self.parted_until = Some(step + 6 + random.below(10));
        let third = random.index(self.people());
        let acts = match random.below(3) {
            0 => vec![
                (one, power(room, third, 75)),
                (two, power(room, third, 50)),
                (one, power(room, two, 50)),
            ],
            1 => vec![
                (one, member(room, two, "ban")),
                (two, power(room, third, 99)),
                (two, member(room, one, "ban")),
            ],
            _ => {
                let uid = |nth: u64| format!("u{step}.{nth}");
                let mut acts = vec![(one, member(room, two, "ban"))];
                acts.extend((0..3).map(|nth| (two, say(room, uid(nth), false))));
                acts.push((two, Act::Topic { room, uid: uid(3) }));
                acts
            }
        };
        Some(Turn::Fight(sides, acts))
    }

    fn choose(&self, step: u64, random: &mut Random) -> Act {
        let room = random.index(3);
        let target = random.index(self.people());
        let via = random.index(self.servers);
        let uid = format!("u{step}");
        match random.below(100) {
            0..34 => say(room, uid, random.in_thousand(300)),
            34..40 => Act::Topic { room, uid },
            40..46 => power(room, target, *random.pick(&[0, 49, 50, 99, 100])),
            46..49 => Act::Visibility {
                room,
                value: random.word(&VISIBILITIES),
            },
            49..51 => Act::JoinRule {
                room,
                value: random.word(&["public", "invite"]),
            },
            51..54 => Act::Redact {
                room,
                nth: random.next(),
            },
            54..58 => member(room, target, "invite"),
            58..61 => member(room, target, "leave"),
            61..63 => member(room, target, "ban"),
            63..71 => Act::Join { room, via },
            71..74 => Act::Leave { room },
            74..79 => Act::Tell { target, uid },
            79..92 => Act::Sync {
                limit: 1 + random.index(5),
            },
            92..98 => Act::Look {
                room,
                nth: random.next(),
            },
            _ => create(random, Preset::PublicChat),
        }
    }
}
