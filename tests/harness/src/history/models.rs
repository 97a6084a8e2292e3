//! Models of what the platform promises.

use std::collections::BTreeSet;

use super::{Entry, Model};

/// A step of what clients do about something that only one of them can have: a unique name, or a
/// token that opens once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The name, or the token.
    pub of: String,
    /// What happened.
    pub step: Step,
}

/// See [`claim`] and [`Claim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client reserved it.
    Reserve(u32),
    /// What this client had reserved is its own for good.
    Commit(u32),
    /// What this client had reserved is free again.
    Release(u32),
    /// Somebody was told that it is another's.
    Taken,
    /// Somebody was told whether it has an owner.
    Seen(bool),
    /// A client proved to be the owner.
    Owns(u32),
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the client's now.
    Won,
    /// It is another's.
    Taken,
    /// No answer, or one that does not say.
    Unknown,
}

/// The steps of one attempt by a client (a number that no other attempt has). It is taken in two
/// steps, so that others are refused already while it is not owned yet; an attempt whose end is
/// unknown may have gone any part of the way, also back.
#[must_use]
pub fn claim(
    of: &str,
    client: u32,
    outcome: Outcome,
    called: u64,
    returned: u64,
) -> Vec<Entry<Claim>> {
    let entry = |step, returned| Entry {
        call: Claim {
            of: of.to_owned(),
            step,
        },
        called,
        returned,
    };
    let way = [Step::Reserve(client), Step::Commit(client)];
    match outcome {
        Outcome::Won => way.map(|step| entry(step, Some(returned))).to_vec(),
        Outcome::Taken => vec![entry(Step::Taken, Some(returned))],
        Outcome::Unknown => way
            .into_iter()
            .chain([Step::Release(client)])
            .map(|step| entry(step, None))
            .collect(),
    }
}

/// Things that have one owner, each.
#[derive(Clone, Copy, Debug)]
pub struct Claims;

/// Who has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Nobody.
    #[default]
    Nobody,
    /// A client, for the time being.
    Reserved(u32),
    /// A client, for good.
    Of(u32),
}

impl Model for Claims {
    type Call = Claim;
    type Key = String;
    type State = Owner;

    fn key(call: &Claim) -> String {
        call.of.clone()
    }

    fn apply(state: &Owner, call: &Claim) -> Option<Owner> {
        match (call.step, *state) {
            (Step::Reserve(client), Owner::Nobody) => Some(Owner::Reserved(client)),
            (Step::Commit(client), Owner::Reserved(by)) if by == client => Some(Owner::Of(client)),
            (Step::Release(client), Owner::Reserved(by)) if by == client => Some(Owner::Nobody),
            (Step::Taken, Owner::Reserved(_) | Owner::Of(_)) => Some(*state),
            (Step::Seen(owned), state) if owned == matches!(state, Owner::Of(_)) => Some(state),
            (Step::Owns(client), Owner::Of(owner)) if owner == client => Some(*state),
            _ => None,
        }
    }

    fn only_reads(call: &Claim) -> bool {
        matches!(call.step, Step::Taken | Step::Seen(_) | Step::Owns(_))
    }
}

/// What clients do about a set of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembersCall {
    /// One was made a member.
    Add(String),
    /// One was removed.
    Remove(String),
    /// Somebody was told who the members are.
    Read(BTreeSet<String>),
}

/// The members of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Members;

impl Model for Members {
    type Call = MembersCall;
    type Key = ();
    type State = BTreeSet<String>;

    fn key(_call: &MembersCall) {}

    fn apply(state: &BTreeSet<String>, call: &MembersCall) -> Option<BTreeSet<String>> {
        let mut state = state.clone();
        match call {
            MembersCall::Add(member) => {
                state.insert(member.clone());
            }
            MembersCall::Remove(member) => {
                state.remove(member);
            }
            MembersCall::Read(members) if *members == state => {}
            MembersCall::Read(_) => return None,
        }
        Some(state)
    }

    fn only_reads(call: &MembersCall) -> bool {
        matches!(call, MembersCall::Read(_))
    }
}

/// What clients do about somebody's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogCall {
    /// Whose they are.
    pub of: String,
    /// What happened.
    pub step: LogStep,
}

/// See [`LogCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogStep {
    /// One was written; each has a number of its own.
    Append(u64),
    /// Somebody was shown all, in order.
    Read(Vec<u64>),
}

/// Somebody's events: what was acknowledged is in every later read, once.
#[derive(Clone, Copy, Debug)]
pub struct Log;

impl Model for Log {
    type Call = LogCall;
    type Key = String;
    type State = Vec<u64>;

    fn key(call: &LogCall) -> String {
        call.of.clone()
    }

    fn apply(state: &Vec<u64>, call: &LogCall) -> Option<Vec<u64>> {
        match &call.step {
            LogStep::Append(number) => {
                let at = state.binary_search(number).err()?;
                let mut state = state.clone();
                state.insert(at, *number);
                Some(state)
            }
            LogStep::Read(numbers) => (numbers == state).then(|| state.clone()),
        }
    }

    fn only_reads(call: &LogCall) -> bool {
        matches!(call.step, LogStep::Read(_))
    }

    fn leave_out(part: &mut Vec<Entry<LogCall>>) {
        let mut shown = BTreeSet::new();
        for entry in &*part {
            if let LogStep::Read(numbers) = &entry.call.step {
                shown.extend(numbers.iter().copied());
            }
        }
        part.retain(|entry| match &entry.call.step {
            LogStep::Append(number) => entry.returned.is_some() || shown.contains(number),
            LogStep::Read(_) => true,
        });
    }
}
