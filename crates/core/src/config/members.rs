//! The members of a cluster: a list that was checked.

use std::collections::HashSet;

use zraft_protocol::MemberId;

use super::{ValidationError, table::MAX_MEMBERS};
use crate::endpoint::Endpoint;

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The name under which the cluster knows the member, as leader hints give it.
    pub id: MemberId,
    /// The address of the member's client port.
    pub endpoint: Endpoint,
}

impl Member {
    /// Returns the id and the text of the endpoint, as events have them.
    pub(crate) fn names(&self) -> (MemberId, String) {
        (self.id.clone(), self.endpoint.to_string())
    }
}

/// The members of the cluster, in the order in which they are asked: 1 to 1,024, and no id twice.
///
/// ```
/// use zraft_core::MemberList;
///
/// let members = MemberList::new([("node-1", "tcp://10.0.0.1:7001"), ("node-2", "tcp://10.0.0.2:7001")])?;
/// assert_eq!(members.as_slice().len(), 2);
/// assert!(MemberList::new([("node-1", "10.0.0.1")]).is_err());
/// # Ok::<(), zraft_core::ValidationError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberList {
    members: Vec<Member>,
    /// The members from here on are asked only if the others do not answer.
    last_resort: usize,
}

impl MemberList {
    /// Checks ids and endpoints, `tcp://host:port`, `tcp://[v6]:port`, the same with `tls://`, or `ipc://path`.
    ///
    /// # Errors
    /// The first member that cannot be accepted; no member at all; more than 1,024.
    pub fn new<I, E>(members: impl IntoIterator<Item = (I, E)>) -> Result<Self, ValidationError>
    where
        I: Into<String>,
        E: Into<String>,
    {
        let (mut seen, mut list) = (HashSet::new(), Vec::new());
        for (index, (id, endpoint)) in members.into_iter().enumerate() {
            let position = index + 1;
            if position > MAX_MEMBERS {
                return Err(ValidationError::TooManyMembers { limit: MAX_MEMBERS });
            }
            let member = id.into();
            if member.is_empty() {
                return Err(ValidationError::MemberId { position });
            }
            let id = MemberId::new(member.as_str())
                .map_err(|_| ValidationError::MemberId { position })?;
            if !seen.insert(id.clone()) {
                return Err(ValidationError::DuplicateMember { member });
            }
            match endpoint.into().parse() {
                Ok(endpoint) => list.push(Member { id, endpoint }),
                Err(reason) => return Err(ValidationError::Endpoint { member, reason }),
            }
        }
        if list.is_empty() {
            return Err(ValidationError::NoMembers);
        }
        Ok(Self { last_resort: list.len(), members: list })
    }

    /// The members, in the order in which they are asked.
    pub fn as_slice(&self) -> &[Member] {
        &self.members
    }

    /// Returns a list whose first `listed` members the server gave. The others may have the same ids, at other endpoints.
    pub(crate) fn discovered(members: Vec<Member>, listed: usize) -> Self {
        Self { members, last_resort: listed }
    }

    /// Returns the members, and whether each is asked only if the others do not answer.
    pub(crate) fn ranked(&self) -> impl Iterator<Item = (&Member, bool)> {
        self.members.iter().enumerate().map(|(place, member)| (member, place >= self.last_resort))
    }
}
