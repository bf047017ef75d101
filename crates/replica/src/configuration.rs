//! Who belongs to the cluster, and changes of it.
//!
//! | record | bytes |
//! | --- | --- |
//! | configuration | version 1; voters, outgoing voters, learners, removed ids, each u16 count and u64 ids in rising order; u16 count of members, each u64 id and member; u16 count of replacements, each u64 learner and u64 voter |
//! | change | version 1; 1 steps: u16 count, then each: kind (1 add learner, 2 promote, 3 remove, 4 update, 5 add replacement), u64 id, for 1, 4 and 5 the member, for 5 u64 id of the voter that it replaces; or 2 leave |
//! | member | u16 length and name, u16 length and address, u32 feature level |

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    FormatError, MemberInfo, RaftId,
    fields::{Fields, put_ids, put_member},
};

const VERSION: u8 = 1;
const STEPS: u8 = 1;
const LEAVE: u8 = 2;
const ADD_LEARNER: u8 = 1;
const PROMOTE: u8 = 2;
const REMOVE: u8 = 3;
const UPDATE: u8 = 4;
const ADD_REPLACEMENT: u8 = 5;

/// The members of a cluster, as of one log index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The members whose votes count.
    pub voters: BTreeSet<RaftId>,
    /// During a joint change, the voters of the configuration that is being left. Empty otherwise.
    pub outgoing: BTreeSet<RaftId>,
    /// The members that receive the log and do not vote.
    pub learners: BTreeSet<RaftId>,
    /// What is known of every voter and learner.
    pub members: BTreeMap<RaftId, MemberInfo>,
    /// Learners that take a voter's place once they have caught up, and that voter.
    pub replacing: BTreeMap<RaftId, RaftId>,
    /// Ids of removed members, which are never used again.
    pub removed: BTreeSet<RaftId>,
}

/// A change of the configuration, as one log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Takes these steps together. More than one voter at a time is changed through a joint configuration.
    Steps(Vec<ChangeStep>),
    /// Leaves the joint configuration.
    Leave,
}

/// One step of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeStep {
    /// Adds a member that receives the log and does not vote.
    AddLearner(RaftId, MemberInfo),
    /// Adds a learner that takes a voter's place once it has caught up.
    AddReplacement {
        /// The learner.
        id: RaftId,
        /// What is known of it.
        info: MemberInfo,
        /// The voter that is removed then.
        old: RaftId,
    },
    /// Lets a learner vote.
    Promote(RaftId),
    /// Removes a member. Its id is never used again.
    Remove(RaftId),
    /// Replaces what is known of a member, for example its address.
    Update(RaftId, MemberInfo),
}

impl Configuration {
    /// The most members, learners included. A cluster of more than nine voters is slower without being safer.
    pub const MAX_MEMBERS: usize = 64;
    /// The most removed ids. A cluster that replaces a member every day reaches it after a hundred years.
    pub const MAX_REMOVED: usize = 40_000;

    /// Returns the configuration of a new cluster whose members all vote.
    #[must_use]
    pub fn of_voters(members: impl IntoIterator<Item = (RaftId, MemberInfo)>) -> Self {
        let members: BTreeMap<_, _> = members.into_iter().collect();
        Self { voters: members.keys().copied().collect(), members, ..Self::default() }
    }

    /// Returns the feature level of the cluster: the highest that all members know, those that are down included. It
    /// never falls, because no member below it is added.
    #[must_use]
    pub fn feature_level(&self) -> u32 {
        self.members.values().map(|member| member.feature_level).min().unwrap_or(0)
    }

    /// Returns true if a joint change is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Returns true if the member votes or receives the log.
    #[must_use]
    pub fn contains(&self, id: RaftId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id) || self.learners.contains(&id)
    }

    /// Returns true if these members can commit an entry: a majority of the voters, and of the outgoing voters.
    #[must_use]
    pub fn is_quorum(&self, active: impl Fn(RaftId) -> bool) -> bool {
        let majority = |voters: &BTreeSet<RaftId>| {
            voters.is_empty() || voters.iter().filter(|id| active(**id)).count() > voters.len() / 2
        };
        !self.voters.is_empty() && majority(&self.voters) && majority(&self.outgoing)
    }

    /// Returns the configuration after a change. The outgoing voters of a joint change keep their records until it is
    /// left, because they still take part.
    #[must_use]
    pub fn after(&self, change: &Change) -> Self {
        let mut after = self.clone();
        match change {
            Change::Leave => after.outgoing.clear(),
            Change::Steps(steps) => {
                if steps.len() > 1 {
                    after.outgoing = after.voters.clone();
                }
                for step in steps {
                    after.take(step);
                }
            }
        }
        let Self { voters, outgoing, learners, members, replacing, removed } = &mut after;
        replacing.retain(|id, old| learners.contains(id) && voters.contains(old));
        members
            .retain(|id, _| voters.contains(id) || outgoing.contains(id) || learners.contains(id));
        // An outgoing voter still votes; it counts as removed once the joint configuration is left.
        removed.extend(self.members.keys().filter(|id| !members.contains_key(id)));
        after
    }

    fn take(&mut self, step: &ChangeStep) {
        match step {
            ChangeStep::AddLearner(id, member) => {
                self.learners.insert(*id);
                self.members.insert(*id, member.clone());
            }
            ChangeStep::AddReplacement { id, info, old } => {
                self.learners.insert(*id);
                self.members.insert(*id, info.clone());
                self.replacing.insert(*id, *old);
            }
            ChangeStep::Promote(id) => {
                self.learners.remove(id);
                self.voters.insert(*id);
            }
            ChangeStep::Remove(id) => {
                self.learners.remove(id);
                self.voters.remove(id);
            }
            ChangeStep::Update(id, member) => {
                self.members.insert(*id, member.clone());
            }
        }
    }

    /// Returns the bytes of this configuration.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        for ids in [&self.voters, &self.outgoing, &self.learners, &self.removed] {
            put_ids(&mut out, ids.iter());
        }
        out.put_u16(self.members.len() as u16);
        for (id, member) in &self.members {
            out.put_u64(id.get());
            put_member(&mut out, member);
        }
        out.put_u16(self.replacing.len() as u16);
        for (id, old) in &self.replacing {
            out.put_u64(id.get());
            out.put_u64(old.get());
        }
        out.freeze()
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// If the bytes are not exactly one configuration that this version knows.
    pub fn decode(bytes: &Bytes) -> Result<Self, FormatError> {
        let mut fields = Fields::new(bytes);
        check_version(&mut fields)?;
        let mut ids = || fields.ids("the member ids");
        let (voters, outgoing, learners, removed) = (ids()?, ids()?, ids()?, ids()?);
        let mut members = BTreeMap::new();
        for _ in 0..fields.u16("the members")? {
            let id = fields.id("a member's id")?;
            if members.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(FormatError::Invalid("the members"));
            }
            members.insert(id, fields.member()?);
        }
        let mut replacing = BTreeMap::new();
        for _ in 0..fields.u16("the replacements")? {
            let id = fields.id("a replacement")?;
            if replacing.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(FormatError::Invalid("the replacements"));
            }
            replacing.insert(id, fields.id("a replaced voter")?);
        }
        fields.finish()?;
        let read = Self { voters, outgoing, learners, members, replacing, removed };
        if read.is_consistent() { Ok(read) } else { Err(FormatError::Invalid("the members")) }
    }

    /// Whether the sets fit together, so that the engine accepts them.
    pub(crate) fn is_consistent(&self) -> bool {
        let all = self.voters.iter().chain(&self.outgoing).chain(&self.learners);
        all.clone().all(|id| self.members.contains_key(id))
            && self.members.keys().all(|id| self.contains(*id) && !self.removed.contains(id))
            && self.learners.is_disjoint(&self.voters)
            && self.learners.is_disjoint(&self.outgoing)
            && self
                .replacing
                .iter()
                .all(|(id, old)| self.learners.contains(id) && self.voters.contains(old))
            && self.members.len() <= Self::MAX_MEMBERS
            && self.removed.len() <= Self::MAX_REMOVED + Self::MAX_MEMBERS
            && !(self.voters.is_empty() && self.is_joint())
    }
}

impl Change {
    /// Returns the bytes of this change, as an entry of the log holds them.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        let Self::Steps(steps) = self else {
            out.put_u8(LEAVE);
            return out.freeze();
        };
        out.put_u8(STEPS);
        out.put_u16(steps.len() as u16);
        for step in steps {
            let (kind, id, member) = match step {
                ChangeStep::AddLearner(id, member) => (ADD_LEARNER, id, Some(member)),
                ChangeStep::AddReplacement { id, info, .. } => (ADD_REPLACEMENT, id, Some(info)),
                ChangeStep::Promote(id) => (PROMOTE, id, None),
                ChangeStep::Remove(id) => (REMOVE, id, None),
                ChangeStep::Update(id, member) => (UPDATE, id, Some(member)),
            };
            out.put_u8(kind);
            out.put_u64(id.get());
            if let Some(member) = member {
                put_member(&mut out, member);
            }
            if let ChangeStep::AddReplacement { old, .. } = step {
                out.put_u64(old.get());
            }
        }
        out.freeze()
    }

    /// Reads a change, for example from an entry of the log.
    ///
    /// # Errors
    /// If the bytes are not exactly one change that this version knows.
    pub fn decode(bytes: &Bytes) -> Result<Self, FormatError> {
        let mut fields = Fields::new(bytes);
        check_version(&mut fields)?;
        let change = match fields.u8("the kind of change")? {
            LEAVE => Self::Leave,
            STEPS => {
                let mut steps = Vec::new();
                for _ in 0..fields.u16("the steps")? {
                    let kind = fields.u8("the kind of step")?;
                    let id = fields.id("a member's id")?;
                    steps.push(match kind {
                        ADD_LEARNER => ChangeStep::AddLearner(id, fields.member()?),
                        ADD_REPLACEMENT => ChangeStep::AddReplacement {
                            id,
                            info: fields.member()?,
                            old: fields.id("the replaced voter")?,
                        },
                        PROMOTE => ChangeStep::Promote(id),
                        REMOVE => ChangeStep::Remove(id),
                        UPDATE => ChangeStep::Update(id, fields.member()?),
                        kind => return Err(FormatError::UnknownKind(kind)),
                    });
                }
                if steps.is_empty() {
                    return Err(FormatError::Invalid("the steps"));
                }
                Self::Steps(steps)
            }
            kind => return Err(FormatError::UnknownKind(kind)),
        };
        fields.finish()?;
        Ok(change)
    }
}

fn check_version(fields: &mut Fields<'_>) -> Result<(), FormatError> {
    match fields.u8("the version")? {
        VERSION => Ok(()),
        version => Err(FormatError::UnsupportedVersion(version)),
    }
}
