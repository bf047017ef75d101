//! Members that the client looks up: leaders that are not configured, by a function of the application, and the addresses of a
//! name in DNS. What is found goes to the machine as a new list of members.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use zraft_core::{ConnectionCause, Endpoint, Event, MemberList, StateName};
use zraft_protocol::MemberId;

/// The least time between two lookups of one kind: an election has clients ask members several times a second.
const LEADERS_APART: Duration = Duration::from_secs(1);
const NAMES_APART: Duration = Duration::from_secs(5);

/// A lookup that takes longer counts as one without a result.
const LIMIT: Duration = Duration::from_secs(10);

/// The most members that are kept beside the list of the application. A cluster has fewer; a name with more addresses, or a
/// member that names one unknown leader after the other, is a mistake.
const MOST: usize = 64;

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The application's function that returns a leader's endpoint.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<dyn Fn(MemberId) -> Answer<Option<String>> + Send + Sync>);

impl Resolver {
    pub(crate) fn new<F, T>(resolve: F) -> Self
    where
        F: Fn(MemberId) -> T + Send + Sync + 'static,
        T: Future<Output = Option<String>> + Send + 'static,
    {
        Self(Arc::new(move |leader| Box::pin(resolve(leader))))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// What a client looks up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// Leaders that are not configured.
    pub(crate) leaders: Option<Resolver>,
    /// The name whose addresses are members. Its own member, with the name as endpoint, is configured until it was resolved.
    pub(crate) name: Option<Endpoint>,
}

/// The id of the member at this place of a name's list: its address, or the name and the port before it was resolved.
pub(crate) fn id_of(endpoint: &Endpoint) -> String {
    let text = endpoint.to_string();
    text.split_once("://").map_or(text.clone(), |(_, place)| place.to_owned())
}

/// A member that was found.
type Found = (MemberId, String);

/// One kind of lookup: at most one is under way.
#[derive(Default)]
struct Lookup {
    under_way: Option<Answer<Option<Vec<Found>>>>,
    /// None begins before this time.
    next: Option<Instant>,
}

impl Lookup {
    fn may_begin(&self) -> bool {
        self.under_way.is_none() && self.next.is_none_or(|next| next <= Instant::now())
    }

    fn begin(
        &mut self,
        apart: Duration,
        lookup: impl Future<Output = Option<Vec<Found>>> + Send + 'static,
    ) {
        self.next = Some(Instant::now() + apart);
        self.under_way =
            Some(Box::pin(
                async move { tokio::time::timeout(LIMIT, lookup).await.unwrap_or_default() },
            ));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Option<Vec<Found>> {
        let lookup = self.under_way.as_mut()?;
        let Poll::Ready(found) = lookup.as_mut().poll(context) else { return None };
        self.under_way = None;
        found
    }
}

/// The lookups of one driver.
#[derive(Default)]
pub(crate) struct Lookups {
    sources: Sources,
    leader: Lookup,
    name: Lookup,
    /// The leaders that were found, the oldest first.
    leaders: VecDeque<MemberId>,
    /// The members that the addresses of the name are.
    addresses: Vec<MemberId>,
}

impl Lookups {
    pub(crate) fn new(sources: Sources) -> Self {
        let name = sources.name.as_ref();
        let addresses = name.and_then(|name| MemberId::new(id_of(name)).ok()).into_iter().collect();
        Self { sources, addresses, ..Self::default() }
    }

    /// Begins the lookups for which this event is the time.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::ConnectionFailure {
                error: ConnectionCause::LeaderNotConfigured { leader_id },
                ..
            } => self.look_for(leader_id),
            Event::StateChange { new_state: StateName::ConnectingNewSession, .. }
            | Event::Reconnecting { .. }
            | Event::ConnectionFailure { .. } => self.look_up_name(),
            _ => {}
        }
    }

    fn look_for(&mut self, leader: &MemberId) {
        let Some(Resolver(resolve)) = &self.sources.leaders else { return self.look_up_name() };
        if self.leader.may_begin() {
            let (leader, answer) = (leader.clone(), resolve(leader.clone()));
            self.leader.begin(LEADERS_APART, async move { Some(vec![(leader, answer.await?)]) });
        }
    }

    fn look_up_name(&mut self) {
        let Some(name) = &self.sources.name else { return };
        let (Endpoint::Tcp { host, port } | Endpoint::Tls { host, port }) = name.clone() else {
            return;
        };
        if self.name.may_begin() {
            let tls = matches!(name, Endpoint::Tls { .. });
            self.name.begin(NAMES_APART, async move {
                let addresses = tokio::net::lookup_host((host, port)).await.ok()?;
                Some(members_at(addresses, tls))
            });
        }
    }

    /// Takes what was found. Returns the new list of members, given the present one.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        present: &MemberList,
    ) -> Option<MemberList> {
        let leader = self.leader.poll(context).filter(|found| !found.is_empty());
        let addresses = self.name.poll(context).filter(|found| !found.is_empty());
        if leader.is_none() && addresses.is_none() {
            return None;
        }
        let mut gone = Vec::new();
        if let Some(found) = &addresses {
            gone.append(&mut self.addresses);
            self.addresses = found.iter().map(|(id, _)| id.clone()).collect();
        }
        for (id, _) in leader.iter().flatten() {
            gone.push(id.clone());
            self.leaders.retain(|known| known != id);
            self.leaders.push_back(id.clone());
            if self.leaders.len() > MOST {
                gone.extend(self.leaders.pop_front());
            }
        }
        let found: Vec<Found> = leader.into_iter().chain(addresses).flatten().collect();
        gone.extend(found.iter().map(|(id, _)| id.clone()));
        let kept = present.as_slice().iter().filter(|member| !gone.contains(&member.id));
        let kept = kept.map(|member| (member.id.as_str().to_owned(), member.endpoint.to_string()));
        let found = found.into_iter().map(|(id, endpoint)| (id.as_str().to_owned(), endpoint));
        // An endpoint that cannot be used counts as none.
        let list = MemberList::new(kept.chain(found)).ok()?;
        (list != *present).then_some(list)
    }
}

/// Returns the members at these addresses.
fn members_at(addresses: impl Iterator<Item = SocketAddr>, tls: bool) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for address in addresses {
        let (host, port) = (address.ip().to_string(), address.port());
        let endpoint =
            if tls { Endpoint::Tls { host, port } } else { Endpoint::Tcp { host, port } };
        if let Ok(id) = MemberId::new(id_of(&endpoint))
            && found.iter().all(|(known, _)| *known != id)
            && found.len() < MOST
        {
            found.push((id, endpoint.to_string()));
        }
    }
    found
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").field("sources", &self.sources).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(name: &str) -> Event {
        let leader_id = MemberId::new(name).unwrap();
        let error = ConnectionCause::LeaderNotConfigured { leader_id };
        Event::ConnectionFailure { member_id: MemberId::new("a").unwrap(), error }
    }

    fn list(members: &[(&str, &str)]) -> MemberList {
        MemberList::new(members.iter().copied()).unwrap()
    }

    /// Takes what was found, with a runtime's clock that runs as fast as nothing else does.
    async fn taken(lookups: &mut Lookups, present: &MemberList) -> Option<MemberList> {
        std::future::poll_fn(|context| Poll::Ready(lookups.poll(context, present))).await
    }

    fn directory() -> Lookups {
        let resolver = Resolver::new(|leader: MemberId| async move {
            match leader.as_str() {
                "unknown" => None,
                "odd" => Some("not an endpoint".to_owned()),
                id => Some(format!("tcp://{id}.example.com:7001")),
            }
        });
        Lookups::new(Sources { leaders: Some(resolver), name: None })
    }

    #[tokio::test(start_paused = true)]
    async fn leader_that_the_application_knows_is_added_to_the_list() {
        let (mut lookups, present) = (directory(), list(&[("a", "tcp://a:1")]));
        lookups.event(&leader("b"));
        let found = taken(&mut lookups, &present).await.unwrap();
        assert_eq!(found, list(&[("a", "tcp://a:1"), ("b", "tcp://b.example.com:7001")]));
        assert_eq!(taken(&mut lookups, &found).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn leader_without_a_usable_endpoint_changes_nothing_and_is_asked_for_again_after_a_second()
     {
        let (mut lookups, present) = (directory(), list(&[("a", "tcp://a:1")]));
        for name in ["unknown", "odd"] {
            lookups.event(&leader(name));
            assert_eq!(taken(&mut lookups, &present).await, None);
            lookups.event(&leader("b"));
            assert!(lookups.leader.under_way.is_none(), "not within a second");
            tokio::time::advance(LEADERS_APART).await;
        }
        lookups.event(&leader("b"));
        assert!(taken(&mut lookups, &present).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn members_that_name_ever_new_leaders_do_not_grow_the_list_without_end() {
        let (mut lookups, mut present) = (directory(), list(&[("a", "tcp://a:1")]));
        for number in 0..MOST + 20 {
            lookups.event(&leader(&format!("b{number}")));
            present = taken(&mut lookups, &present).await.unwrap();
            tokio::time::advance(LEADERS_APART).await;
        }
        assert_eq!(present.as_slice().len(), MOST + 1);
        assert_eq!(present.as_slice()[0].id.as_str(), "a");
    }

    #[tokio::test(start_paused = true)]
    async fn lookup_that_never_ends_is_given_up() {
        let resolver = Resolver::new(|_| std::future::pending());
        let mut lookups = Lookups::new(Sources { leaders: Some(resolver), name: None });
        let present = list(&[("a", "tcp://a:1")]);
        lookups.event(&leader("b"));
        assert_eq!(taken(&mut lookups, &present).await, None);
        assert!(lookups.leader.under_way.is_some());
        tokio::time::advance(LIMIT + Duration::from_millis(1)).await;
        assert_eq!(taken(&mut lookups, &present).await, None);
        assert!(lookups.leader.under_way.is_none());
    }

    #[test]
    fn each_address_of_a_name_is_one_member_and_none_is_there_twice() {
        let addresses = ["10.0.0.1:7001", "[fd00::1]:7001", "10.0.0.1:7001"];
        let addresses = || addresses.iter().map(|text| text.parse().unwrap());
        let ids = |tls| -> Vec<_> {
            members_at(addresses(), tls).into_iter().map(|(id, at)| (id.to_string(), at)).collect()
        };
        let member = |id: &str, at: &str| (id.to_owned(), at.to_owned());
        assert_eq!(
            ids(false),
            [
                member("10.0.0.1:7001", "tcp://10.0.0.1:7001"),
                member("[fd00::1]:7001", "tcp://[fd00::1]:7001")
            ]
        );
        assert_eq!(ids(true)[0].1, "tls://10.0.0.1:7001");
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_take_the_place_of_the_name_and_of_those_before() {
        let name: Endpoint = "tcp://db:7001".parse().unwrap();
        let mut lookups = Lookups::new(Sources { leaders: None, name: Some(name) });
        let mut present = list(&[("a", "tcp://a:1"), ("db:7001", "tcp://db:7001")]);
        for (found, ids) in [
            (["10.0.0.1:1", "10.0.0.2:1"], ["a", "10.0.0.1:1", "10.0.0.2:1"]),
            (["10.0.0.2:1", "10.0.0.3:1"], ["a", "10.0.0.2:1", "10.0.0.3:1"]),
        ] {
            let found = members_at(found.iter().map(|text| text.parse().unwrap()), false);
            lookups.name.begin(NAMES_APART, async move { Some(found) });
            present = taken(&mut lookups, &present).await.unwrap();
            let now: Vec<_> = present.as_slice().iter().map(|member| member.id.as_str()).collect();
            assert_eq!(now, ids);
        }
        lookups.name.begin(NAMES_APART, async move { Some(Vec::new()) });
        assert_eq!(taken(&mut lookups, &present).await, None, "a name without addresses");
    }
}
