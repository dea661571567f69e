//! A room's mailbox: one bounded queue and at most one worker per active room.
//!
//! The worker plans everything that is queued into one commit, hands it over and plans on while the
//! commit is flushed, so that a busy room is not limited to one commit per flush. It never awaits
//! the network. A room that is idle costs nothing: its worker ends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::{CommitError, Receipt, Refusal, StorageError};
use hearth_types::ruma::OwnedEventId;
use tokio::sync::{mpsc, oneshot};

use crate::rooms::Rooms;
use crate::rooms::adopt::Adoption;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::membership::OnlyIf;
use crate::rooms::outliers::Asks;
use crate::rooms::plan::{ClientTxn, Draft, Effects, Plan, Received};
use crate::rooms::unseen::Unseen;
use crate::rooms::view::{SharedRoom, View};

/// Jobs that may wait in a room's mailbox.
const QUEUE_MAX: usize = 256;

/// Jobs planned into one commit.
const BATCH_MAX: usize = 64;

/// Commits of one room that may be on their way at once.
const IN_FLIGHT_MAX: usize = 8;

/// How often a job is planned again when another node was faster, or a transaction id was used before.
/// Each time another node is faster, it got on: who has the longer way to the database may lose many times in
/// a row. A transaction id is found at the second attempt.
const ATTEMPTS_MAX: u32 = 64;

/// A worker without work for this long ends.
const IDLE: Duration = Duration::from_secs(60);

/// When an idle worker first looks whether its room has had to leave memory, and ends if so. It looks
/// again whenever it has been idle for twice as long.
const IDLE_LOOK: Duration = Duration::from_millis(100);

/// What a room can be asked to write.
#[derive(Debug)]
pub(super) enum Work {
    /// An event of one of our people.
    Append(Draft, Option<ClientTxn>),
    /// A member event of one of our people, if its person is what they must be.
    Change(Draft, OnlyIf),
    /// The member event that shows a changed profile of one of our people, if they are joined and show another.
    Show(Draft),
    /// A verified event: a remote one, or (`outbound`) one of ours that came back co-signed.
    Receive(Box<VerifiedPdu>, bool),
    /// Verified events from outside the timeline.
    Outliers(Vec<VerifiedPdu>),
    /// A verified event whose predecessors are not here, with the state before it.
    Anchor(Box<VerifiedPdu>, Vec<OwnedEventId>),
    /// The room as another server handed it over to us.
    Adopt(Box<Adoption>),
    /// A membership that no known state of the room holds.
    Unseen(Box<Unseen>),
    /// To be shown in the directory, or no more.
    Publish(bool),
}

impl Work {
    /// Whether a refusal comes before anything was planned, so that the plan is as it was.
    fn is_refused_whole(&self) -> bool {
        !matches!(self, Self::Adopt(_))
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Appended(Known),
    Received(Received),
    TakenIn,
}

#[derive(Debug)]
struct Job {
    work: Work,
    attempts: u32,
    answer: oneshot::Sender<Result<Done, RoomError>>,
}

/// The way into a room.
#[derive(Debug, Clone)]
pub(super) struct Mailbox {
    room: SharedRoom,
    queue: mpsc::Sender<Job>,
}

impl Mailbox {
    /// Opens a room's mailbox and starts its worker.
    pub(super) fn open(rooms: &Rooms, room: SharedRoom, view: View) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let worker = Worker {
            rooms: rooms.clone(),
            room: Arc::clone(&room),
            view,
            jobs,
            in_flight: FuturesOrdered::new(),
            again: Vec::new(),
            broken: false,
        };
        rooms.ctx.tasks.spawn("room", Box::pin(worker.run()));
        Self { room, queue }
    }

    /// The room.
    pub(super) fn room(&self) -> SharedRoom {
        Arc::clone(&self.room)
    }

    /// How much waits in it.
    pub(super) fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Whether its worker still runs.
    pub(super) fn is_open(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Has work done. `patient` callers wait for a place in the queue, others are told `Busy`.
    /// `None` says that the worker has just ended: open the mailbox again.
    pub(super) async fn ask(
        &self,
        work: Work,
        patient: bool,
    ) -> Result<Result<Done, RoomError>, Work> {
        let (answer, done) = oneshot::channel();
        let job = Job {
            work,
            attempts: 0,
            answer,
        };
        let queued = if patient {
            self.queue.send(job).await.map_err(|closed| closed.0)
        } else {
            match self.queue.try_send(job) {
                Ok(()) => Ok(()),
                Err(mpsc::error::TrySendError::Closed(job)) => Err(job),
                Err(mpsc::error::TrySendError::Full(_)) => return Ok(Err(RoomError::Busy)),
            }
        };
        match queued {
            Ok(()) => Ok(done.await.unwrap_or(Err(RoomError::Busy))),
            Err(job) => Err(job.work),
        }
    }
}

/// A commit on its way, with the jobs that came into it. Jobs that needed no commit wait in the
/// same order, since what they found may still be on its way.
struct Flight {
    jobs: Vec<(Job, Done)>,
    effects: Effects,
    landed: Option<Result<Receipt, CommitError>>,
}

struct Worker {
    rooms: Rooms,
    room: SharedRoom,
    view: View,
    jobs: mpsc::Receiver<Job>,
    in_flight: FuturesOrdered<BoxFuture<'static, Flight>>,
    again: Vec<Job>,
    /// A commit failed: what was planned on it does not hold.
    broken: bool,
}

impl Worker {
    async fn run(mut self) {
        let mut idle = Duration::ZERO;
        loop {
            let mut batch = Vec::new();
            let look = idle.max(IDLE_LOOK);
            tokio::select! {
                biased;
                Some(flight) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.land(flight).await;
                    idle = Duration::ZERO;
                }
                count = self.jobs.recv_many(&mut batch, BATCH_MAX),
                    if self.in_flight.len() < IN_FLIGHT_MAX =>
                {
                    if count == 0 {
                        break;
                    }
                    self.plan(batch).await;
                }
                () = tokio::time::sleep(look), if self.in_flight.is_empty() => {
                    idle += look;
                    if idle >= IDLE || !self.rooms.is_kept(self.room.nid) {
                        // Whoever finds the queue closed opens the mailbox anew.
                        self.jobs.close();
                    }
                }
            }
        }
        while let Some(flight) = self.in_flight.next().await {
            self.land(flight).await;
        }
        self.rooms.mailbox_ended(self.room.nid);
    }

    async fn plan(&mut self, mut jobs: Vec<Job>) {
        if let Err(error) = self.hear().await {
            let trouble = error.trouble();
            let mut error = Some(error);
            for job in jobs {
                let of_all = trouble.map_or(RoomError::Busy, |trouble| {
                    RoomError::Storage(StorageError::Unavailable(trouble))
                });
                drop(job.answer.send(Err(error.take().unwrap_or(of_all))));
            }
            return;
        }
        let (mut plan, planned) = loop {
            match planned(&self.rooms, &self.room, &self.view, jobs).await {
                Ok(planned) => break planned,
                Err(others) => jobs = others,
            }
        };
        if plan.is_empty() {
            let flight = Flight {
                jobs: planned,
                effects: plan.effects,
                landed: None,
            };
            self.in_flight
                .push_back(Box::pin(std::future::ready(flight)));
            return;
        }
        plan.finish();
        let Plan {
            view,
            commit,
            effects,
            ..
        } = plan;
        self.rooms.remember(&effects);
        match self.rooms.ctx.storage.writer().submit(commit).await {
            Ok(pending) => {
                self.view = view;
                self.in_flight.push_back(Box::pin(async move {
                    Flight {
                        jobs: planned,
                        effects,
                        landed: Some(pending.receipt().await),
                    }
                }));
            }
            Err(stopped) => {
                let landed = Some(Err(CommitError::Storage(stopped)));
                let flight = Flight {
                    jobs: planned,
                    effects,
                    landed,
                };
                self.in_flight
                    .push_back(Box::pin(std::future::ready(flight)));
            }
        }
    }

    /// Brings up to date whom the room's events concern; it stays so whatever becomes of a plan.
    async fn hear(&mut self) -> Result<(), RoomError> {
        let now = self.rooms.ctx.push.rules.epoch();
        let audience = self.view.audience.as_ref();
        if audience.is_none_or(|audience| audience.as_of != now) {
            let mut plan = Plan::new(&self.rooms, &self.room, self.view.clone());
            plan.hear().await?;
            self.view.audience = plan.view.audience;
        }
        Ok(())
    }

    async fn land(&mut self, flight: Flight) {
        let Flight {
            jobs,
            effects,
            landed,
        } = flight;
        match landed {
            Some(Ok(receipt)) => {
                self.rooms.publish(&self.room, &effects, receipt);
                self.rooms.keep_written(&self.room);
                answer(jobs);
            }
            None if !self.broken => answer(jobs),
            None => self.again.extend(jobs.into_iter().map(|(job, _)| job)),
            Some(Err(error)) => {
                self.broken = true;
                self.rooms.forget(&effects);
                self.fail(jobs, error);
            }
        }
        if self.broken && self.in_flight.is_empty() {
            self.begin_again().await;
        }
    }

    /// Sorts the jobs of a commit that did not come to pass: those that came too late, or once more, are
    /// planned again, the others are told why.
    fn fail(&mut self, jobs: Vec<(Job, Done)>, error: CommitError) {
        // A transaction id that was used long ago is looked up in the second attempt.
        let again = matches!(
            error,
            CommitError::Refused(Refusal::Stale { .. } | Refusal::Taken)
        );
        let sentence = error.to_string();
        let mut error = Some(RoomError::from(error));
        let trouble = error.as_ref().and_then(RoomError::trouble);
        for (mut job, _) in jobs {
            job.attempts += 1;
            if again && job.attempts < ATTEMPTS_MAX {
                self.again.push(job);
            } else {
                let error = error.take().unwrap_or_else(|| {
                    RoomError::Storage(match trouble {
                        Some(trouble) => StorageError::Unavailable(trouble),
                        None => StorageError::Unusable(sentence.clone()),
                    })
                });
                drop(job.answer.send(Err(error)));
            }
        }
    }

    /// Reads the room as it is stored, and plans again what waits for that.
    async fn begin_again(&mut self) {
        match self.rooms.stored_view(&self.room).await {
            Ok(view) => {
                self.view = view;
                self.broken = false;
            }
            Err(error) => {
                let trouble = error.trouble();
                if trouble.is_none() {
                    tracing::error!(room = %self.room.id, %error, "the room cannot be read");
                }
                // A worker without a view must not plan: the next asker opens the room anew.
                self.jobs.close();
                for job in self.again.drain(..) {
                    let error = trouble.map_or(RoomError::Busy, |trouble| {
                        RoomError::Storage(StorageError::Unavailable(trouble))
                    });
                    drop(job.answer.send(Err(error)));
                }
                return;
            }
        }
        let again = std::mem::take(&mut self.again);
        if !again.is_empty() {
            Box::pin(self.plan(again)).await;
        }
    }
}

fn answer(jobs: Vec<(Job, Done)>) {
    for (job, done) in jobs {
        // A caller that no longer waits has still had its work done.
        drop(job.answer.send(Ok(done)));
    }
}

/// Plans jobs into one commit. What the room's rules refuse leaves no trace; a job that failed
/// otherwise may have left half of itself in the plan, so the others are given back, to be planned
/// without it.
async fn planned<'a>(
    rooms: &'a Rooms,
    room: &'a SharedRoom,
    view: &View,
    jobs: Vec<Job>,
) -> Result<(Plan<'a>, Vec<(Job, Done)>), Vec<Job>> {
    let mut plan = Plan::new(rooms, room, view.clone());
    let mut planned = Vec::with_capacity(jobs.len());
    let mut jobs = jobs.into_iter();
    while let Some(job) = jobs.next() {
        match work(&mut plan, &job).await {
            Ok(done) => planned.push((job, done)),
            Err(error) => {
                use RoomError::{DuplicateAnnotation, Forbidden, NoGuests, NoThreadRoot, NotFound};
                let rules = matches!(
                    error,
                    Forbidden(_) | NotFound(_) | NoGuests | NoThreadRoot | DuplicateAnnotation
                );
                let refused = rules && job.work.is_refused_whole();
                drop(job.answer.send(Err(error)));
                if !refused {
                    let before = planned.into_iter().map(|(job, _)| job);
                    return Err(before.chain(jobs).collect());
                }
            }
        }
    }
    Ok((plan, planned))
}

async fn work(plan: &mut Plan<'_>, job: &Job) -> Result<Done, RoomError> {
    match &job.work {
        Work::Append(draft, txn) => {
            let known = plan.append(draft, txn.as_ref(), job.attempts > 0).await;
            known.map(Done::Appended)
        }
        Work::Change(draft, only_if) => {
            plan.must_be(draft, *only_if).await?;
            plan.append(draft, None, false).await.map(Done::Appended)
        }
        Work::Show(draft) => plan.show(draft).await.map(Done::Appended),
        Work::Receive(pdu, outbound) => plan.receive(pdu, *outbound).await.map(Done::Received),
        Work::Outliers(pdus) => plan.add_outliers(pdus).await.map(|()| Done::TakenIn),
        Work::Anchor(pdu, state) => {
            let before = plan.state_of(state).await?;
            plan.anchor(pdu, before, Asks::Stated)
                .await
                .map(Done::Received)
        }
        Work::Adopt(adoption) => plan.adopt(adoption).await.map(Done::Received),
        Work::Unseen(unseen) => plan.keep_unseen(unseen).await.map(|()| Done::TakenIn),
        Work::Publish(published) => plan.publish(*published).await.map(|()| Done::TakenIn),
    }
}
