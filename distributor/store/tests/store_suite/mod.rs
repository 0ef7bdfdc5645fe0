//! What every store must fulfil, whatever it is made of. A backend calls [`conformance`] with a way to make
//! an empty store of its own, and to open it again as another process would.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::collections::{BTreeMap, BTreeSet};

use fwcast_store::kind::Kind;
use rollout_engine::plan::{Abort, AgentKey, Lane, Percent, Plan, PlannedImage, Retry, Wave, When};
use rollout_engine::record::{AgentRecord, Fact, Order, OrderOutcome, Outcome, Progress, Settled};
use rollout_engine::window::Windows;

use fwcast_store::Agents as _;
use fwcast_store::Documents as _;
use fwcast_store::Epochs as _;
use fwcast_store::Events as _;
use fwcast_store::Orders as _;
use fwcast_store::Rollouts as _;
use fwcast_store::{
    Applied, EventQuery, Heard, Loss, Member, NewDocument, NewOrder, NewRollout, Step, Store, StoreError,
};
use jiff::Timestamp;
use provisioning::{Hex, Name};
use serde_json::json;

/// Makes stores.
pub(crate) trait Factory {
    type Store: Store;

    /// An empty store.
    fn empty(&mut self) -> impl Future<Output = Self::Store>;

    /// The store that was made last, as another process opens it.
    fn again(&mut self) -> impl Future<Output = Self::Store>;
}

/// All of it.
pub(crate) async fn conformance<F: Factory>(factory: &mut F) {
    documents_are_applied_together(factory).await;
    agents_follow_their_group(factory).await;
    a_rollout_is_stored_step_by_step(factory).await;
    no_agent_is_in_two_rollouts(factory).await;
    who_joins_later_is_taken_too(factory).await;
    what_a_rollout_uses_stays(factory).await;
    orders_reach_another_process(factory).await;
    an_order_is_settled_with_its_step(factory).await;
    events_are_found_from_both_ends(factory).await;
    a_revision_tells_of_other_processes(factory).await;
    the_epoch_stays(factory).await;
    who_is_heard_is_remembered(factory).await;
    the_last_loss_counts(factory).await;
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn key(text: &str) -> AgentKey {
    text.parse().unwrap()
}

pub(crate) fn at(second: i64) -> Timestamp {
    // With digits behind the point, none of which may get lost.
    Timestamp::new(1_800_000_000 + second, 123_456_789).unwrap()
}

/// A plan for these agents of group `hall`, in one wave.
pub(crate) fn plan(agents: &[&str]) -> Plan {
    Plan {
        image: PlannedImage {
            digest: Hex::from([7; 32]),
            name: name("lamp"),
            version: "2.4.1".to_owned(),
            sequence_number: 7,
            bytes: 4096,
            block_bytes: 1024,
        },
        lanes: vec![Lane {
            name: name("lights"),
            security_group: name("hall"),
            interface: None,
            hops: None,
            rate_bits_per_second: None,
            parity: None,
            agents: agents.iter().map(|agent| key(agent).name).collect(),
        }],
        waves: vec![Wave {
            name: name("all"),
            agents: agents.iter().map(|agent| key(agent)).collect(),
            soak_s: 0,
            approval: false,
        }],
        success: Percent::ALL,
        abort: Abort { failed: None, lost: None, min_sample: 1 },
        retry: Retry { max: 0, backoff_s: 60, on: BTreeSet::new() },
        transfer_within_s: 600,
        report_within_s: 600,
        deferred_within_s: 0,
        transfer_windows: Windows::default(),
        activation_windows: Windows::default(),
        activation: When::Now,
        budget: None,
        paused: false,
    }
}

pub(crate) fn record(progress: Progress) -> AgentRecord {
    AgentRecord {
        wave: 3,
        progress,
        since: at(1),
        reason: 255,
        remark: "exit code 3 after 400 s".to_owned(),
        missing: u32::MAX,
        installed: u64::MAX,
        heard: Some(at(2)),
        told: true,
        tries: 9,
        retry_at: None,
    }
}

pub(crate) fn waiting(agents: &[&str]) -> Vec<(AgentKey, AgentRecord)> {
    let record = AgentRecord { installed: 0, heard: None, ..record(Progress::Waiting) };
    agents.iter().map(|agent| (key(agent), record.clone())).collect()
}

pub(crate) fn fact(second: i64, rollout: &str, agent: Option<&str>, text: &str) -> Fact {
    Fact {
        at: at(second),
        rollout: Some(name(rollout)),
        agent: agent.map(key),
        kind: "wave-activated".to_owned(),
        text: text.to_owned(),
    }
}

fn document(kind: Kind, text: &str, spec: serde_json::Value) -> NewDocument {
    NewDocument { kind, name: name(text), labels: BTreeMap::new(), spec }
}

fn member(text: &str, sender_id: Option<u8>) -> Member {
    Member {
        name: name(text),
        sender_id: sender_id.map(|id| Hex::from([id])),
        vendor: uuid::Uuid::from_bytes([1; 16]),
        class: uuid::Uuid::from_bytes([2; 16]),
        words: Default::default(),
        labels: BTreeMap::from([("ring".to_owned(), "canary".to_owned())]),
        enrolled_at: Some(at(5)),
    }
}

fn newest(limit: u32) -> EventQuery {
    EventQuery { after: None, rollout: None, agent: None, limit }
}

pub(crate) async fn begin<S: Store>(store: &S, rollout: &str, agents: &[&str]) -> Result<(), StoreError> {
    let agents_waiting = waiting(agents);
    let new = NewRollout {
        name: &name(rollout),
        generation: 2,
        plan: &plan(agents),
        state: "{}",
        agents: &agents_waiting,
        facts: &[],
        at: at(10),
    };
    store.begin_rollout(new).await
}

pub(crate) fn step<'a>(rollout: &'a Name, state: &'a str) -> Step<'a> {
    Step { rollout, state, outcome: None, agents: &[], facts: &[], settled: &[], at: at(20) }
}

async fn documents_are_applied_together<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    let group = document(Kind::RolloutGroup, "lights", json!({"b": 1, "a": ["x", 2.5, null]}));
    let image = document(Kind::Image, "lights", json!({"digest": "sha256:00"}));
    let both = [group.clone(), image.clone()];
    assert_eq!(store.apply(&both, "me", at(1)).await.unwrap(), [Applied::Created, Applied::Created]);
    let changed = document(Kind::Image, "lights", json!({"digest": "sha256:01"}));
    assert_eq!(
        store.apply(&[group.clone(), changed.clone()], "me", at(2)).await.unwrap(),
        [Applied::Unchanged, Applied::Changed]
    );
    let store = factory.again().await;
    let found = store.document(Kind::Image, &name("lights")).await.unwrap().unwrap();
    assert_eq!((found.generation, found.applied_at, &found.spec), (2, at(2), &changed.spec));
    let groups = store.documents(Kind::RolloutGroup).await.unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].generation, groups[0].applied_at, &groups[0].spec), (1, at(1), &group.spec));
    assert!(store.documents(Kind::Rollout).await.unwrap().is_empty());
    let labels = BTreeMap::from([("ring".to_owned(), "prod".to_owned())]);
    let labelled = NewDocument { labels: labels.clone(), ..group };
    assert_eq!(store.apply(&[labelled], "me", at(3)).await.unwrap(), [Applied::Changed]);
    assert_eq!(store.documents(Kind::RolloutGroup).await.unwrap()[0].labels, labels);
    assert!(store.delete(Kind::Image, &name("lights"), "me", at(4)).await.unwrap());
    assert!(!store.delete(Kind::Image, &name("lights"), "me", at(4)).await.unwrap());
    assert!(store.document(Kind::RolloutGroup, &name("lights")).await.unwrap().is_some());
    let query = EventQuery { after: None, rollout: None, agent: None, limit: 100 };
    let events = store.events(&query).await.unwrap();
    let said: Vec<_> = events.iter().map(|event| (event.fact.at, event.fact.text.as_str())).collect();
    assert_eq!(
        said,
        [
            (at(1), "rollout group 'lights' created, by me"),
            (at(1), "image 'lights' created, by me"),
            (at(2), "image 'lights' changed, by me"),
            (at(3), "rollout group 'lights' changed, by me"),
            (at(4), "image 'lights' deleted, by me"),
        ],
        "what changes nothing is no event"
    );
}

async fn agents_follow_their_group<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    let hall = name("hall");
    let members = [member("lamp-1", Some(1)), member("lamp-2", None)];
    store.sync_agents(&hall, &members, "one").await.unwrap();
    store.sync_agents(&name("yard"), &[member("lamp-1", Some(1))], "yard").await.unwrap();
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    let moved = [(key("hall/lamp-1"), record(Progress::Trial))];
    let spring = name("spring");
    store.save(Step { agents: &moved, ..step(&spring, "1") }).await.unwrap();

    let store = factory.again().await;
    let one = store.agent(&key("hall/lamp-1")).await.unwrap().unwrap();
    assert_eq!((one.sender_id, one.enrolled_at), (Some(Hex::from([1])), Some(at(5))));
    assert_eq!(
        (one.vendor, one.class, &one.labels),
        (members[0].vendor, members[0].class, &members[0].labels)
    );
    assert_eq!((one.progress, one.installed), (Some(Progress::Trial), u64::MAX));
    assert_eq!((one.heard, one.rollout), (Some(at(2)), Some(spring.clone())));
    let two = store.agent(&key("hall/lamp-2")).await.unwrap().unwrap();
    assert_eq!((two.sender_id, two.progress, two.installed, two.rollout), (None, None, 0, None));
    assert_eq!(store.agents(None).await.unwrap().len(), 3);

    // What was heard stays when the group is read again, and who is gone is gone.
    let relabelled = Member { labels: BTreeMap::new(), ..member("lamp-1", Some(9)) };
    store.sync_agents(&hall, &[relabelled], "two").await.unwrap();
    let now = store.agents(Some(&hall)).await.unwrap();
    assert_eq!(now.len(), 1);
    assert_eq!((now[0].progress, now[0].labels.len()), (Some(Progress::Trial), 0));
    assert_eq!(now[0].sender_id, Some(Hex::from([9])));
    let fingerprints = store.fingerprints().await.unwrap();
    assert_eq!(fingerprints[&hall], "two");
    store.forget_group(&name("yard")).await.unwrap();
    assert_eq!(store.fingerprints().await.unwrap().len(), 1);
    assert!(store.agent(&key("yard/lamp-1")).await.unwrap().is_none());
    assert!(store.agents(Some(&name("yard"))).await.unwrap().is_empty());

    // A record that knows less takes nothing away, and the end of the rollout sets the agent free.
    let silent = AgentRecord { installed: 0, heard: None, ..record(Progress::Lost) };
    let last = Step {
        agents: &[(key("hall/lamp-1"), silent)],
        outcome: Some(Outcome::Stopped),
        ..step(&spring, "2")
    };
    store.save(last).await.unwrap();
    let one = store.agent(&key("hall/lamp-1")).await.unwrap().unwrap();
    assert_eq!((one.progress, one.installed), (Some(Progress::Lost), u64::MAX));
    assert_eq!((one.heard, one.rollout), (Some(at(2)), None));
}

async fn a_rollout_is_stored_step_by_step<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    let agents = ["hall/lamp-1", "hall/lamp-2"];
    let spring = name("spring");
    assert!(matches!(store.save(step(&spring, "1")).await, Err(StoreError::NoRollout(_))));
    begin(&store, "spring", &agents).await.unwrap();
    let moved = [(key("hall/lamp-2"), AgentRecord { retry_at: Some(at(30)), ..record(Progress::Lost) })];
    let facts = [fact(3, "spring", Some("hall/lamp-2"), "it stayed silent")];
    store.save(Step { agents: &moved, facts: &facts, ..step(&spring, "{\"n\": 1}") }).await.unwrap();

    let store = factory.again().await;
    let rollout = store.rollout(&spring).await.unwrap().unwrap();
    assert_eq!((rollout.plan, rollout.state.as_str()), (plan(&agents), "{\"n\": 1}"));
    let line = rollout.line;
    assert_eq!((line.generation, line.outcome), (2, None));
    assert_eq!((line.created_at, line.updated_at), (at(10), at(20)));
    assert_eq!(line.agents, BTreeMap::from([(Progress::Waiting, 1), (Progress::Lost, 1)]));
    assert_eq!(store.rollouts().await.unwrap(), [line]);
    let stored = store.rollout_agents(&spring).await.unwrap();
    assert_eq!(stored, [waiting(&agents)[0].clone(), moved[0].clone()]);
    assert_eq!(store.events(&newest(9)).await.unwrap()[0].fact, facts[0]);

    assert!(matches!(begin(&store, "spring", &agents).await, Err(StoreError::Begun(_))));
    store.save(Step { outcome: Some(Outcome::Done), ..step(&spring, "2") }).await.unwrap();
    let ended = store.rollout(&spring).await.unwrap().unwrap();
    assert_eq!((ended.line.outcome, ended.state.as_str()), (Some(Outcome::Done), "2"));
    // Begun again, it forgets its agents; the events stay.
    begin(&store, "spring", &agents[..1]).await.unwrap();
    assert_eq!(store.rollout_agents(&spring).await.unwrap().len(), 1);
    assert_eq!(store.events(&newest(9)).await.unwrap().len(), 1);
    assert!(store.rollout(&name("autumn")).await.unwrap().is_none());
}

async fn no_agent_is_in_two_rollouts<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    begin(&store, "spring", &["hall/lamp-1", "hall/lamp-2", "hall/lamp-3"]).await.unwrap();
    begin(&store, "yard", &["yard/lamp-1"]).await.unwrap();
    let refused =
        begin(&store, "summer", &["hall/lamp-3", "hall/lamp-2", "hall/lamp-9", "yard/lamp-2"]).await;
    let Err(StoreError::Conflict { rollout, agents, first }) = refused else { panic!("{refused:?}") };
    assert_eq!((rollout, agents, first), (name("spring"), 2, key("hall/lamp-2")));
    assert!(store.rollout(&name("summer")).await.unwrap().is_none());
    let spring = name("spring");
    store.save(Step { outcome: Some(Outcome::Cancelled), ..step(&spring, "1") }).await.unwrap();
    begin(&store, "summer", &["hall/lamp-3"]).await.unwrap();
    // What has ended goes on only if its agents are still free.
    let refused = store.save(step(&spring, "2")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { agents: 1, .. })), "{refused:?}");
    assert_eq!(store.rollout(&spring).await.unwrap().unwrap().state, "1");
    let summer = name("summer");
    store.save(Step { outcome: Some(Outcome::Done), ..step(&summer, "1") }).await.unwrap();
    store.save(step(&spring, "2")).await.unwrap();
    assert_eq!(store.rollout(&spring).await.unwrap().unwrap().line.outcome, None);
}

async fn who_joins_later_is_taken_too<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    let members = ["lamp-1", "lamp-2", "lamp-3"].map(|agent| member(agent, Some(1)));
    store.sync_agents(&name("hall"), &members, "1").await.unwrap();
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    let joined = waiting(&["hall/lamp-2"]);
    store.save(Step { agents: &joined, ..step(&name("spring"), "1") }).await.unwrap();
    let agents = factory.again().await.agents(None).await.unwrap();
    let taken: Vec<_> = agents.into_iter().map(|agent| agent.rollout).collect();
    assert_eq!(taken, [Some(name("spring")), Some(name("spring")), None]);
    let refused = begin(&store, "summer", &["hall/lamp-2"]).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
}

async fn what_a_rollout_uses_stays<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    let all = [
        document(Kind::RolloutGroup, "lights", json!({})),
        document(Kind::RolloutGroup, "other", json!({})),
        document(Kind::Image, "lamp", json!({})),
        document(Kind::Rollout, "spring", json!({})),
    ];
    store.apply(&all, "me", at(1)).await.unwrap();
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    for (kind, used) in [(Kind::RolloutGroup, "lights"), (Kind::Image, "lamp"), (Kind::Rollout, "spring")] {
        let refused = store.delete(kind, &name(used), "me", at(2)).await;
        assert!(matches!(refused, Err(StoreError::InUse { .. })), "{kind} {refused:?}");
    }
    assert!(store.delete(Kind::RolloutGroup, &name("other"), "me", at(2)).await.unwrap());
    let spring = name("spring");
    store.save(Step { outcome: Some(Outcome::Done), ..step(&spring, "1") }).await.unwrap();
    for (kind, used) in [(Kind::RolloutGroup, "lights"), (Kind::Image, "lamp"), (Kind::Rollout, "spring")] {
        assert!(store.delete(kind, &name(used), "me", at(2)).await.unwrap(), "{kind}");
    }
    assert!(store.rollout(&spring).await.unwrap().is_none());
    assert!(store.rollout_agents(&spring).await.unwrap().is_empty());
}

async fn orders_reach_another_process<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    let spring = name("spring");
    let order = |order| NewOrder { rollout: &spring, order, reason: Some("why\u{1b}"), by: "me", at: at(1) };
    assert!(matches!(store.give_order(order(Order::Pause)).await, Err(StoreError::NoRollout(_))));
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    let other = factory.again().await;
    let first = other.give_order(order(Order::Pause)).await.unwrap();
    let second = other.give_order(NewOrder { reason: None, ..order(Order::Cancel) }).await.unwrap();
    assert!(second > first);
    let open = store.open_orders(&spring).await.unwrap();
    assert_eq!(open.iter().map(|order| order.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!((open[0].order, open[0].reason.as_deref()), (Order::Pause, Some("why\u{1b}")));
    assert_eq!((open[0].by.as_str(), open[0].at, &open[0].outcome), ("me", at(1), &None));
    let done = |id, said: &str| Settled { id, outcome: OrderOutcome::Done(said.to_owned()) };
    store.settle_order(&done(first, "paused"), at(2)).await.unwrap();
    store.settle_order(&done(first, "not twice"), at(3)).await.unwrap();
    let settled = other.order(first).await.unwrap().unwrap();
    assert_eq!((settled.outcome, settled.settled_at), (Some(done(first, "paused").outcome), Some(at(2))));
    assert_eq!(store.open_orders(&spring).await.unwrap().len(), 1);
    assert!(store.open_orders(&name("autumn")).await.unwrap().is_empty());
    assert!(store.order(second + 1).await.unwrap().is_none());
    store.save(Step { outcome: Some(Outcome::Stopped), ..step(&spring, "1") }).await.unwrap();
    // What makes sense after the end is for the engine to say.
    let late = other.give_order(order(Order::Retry)).await.unwrap();
    assert_eq!(store.open_orders(&spring).await.unwrap().last().map(|order| order.id), Some(late));
    // But it was not meant for another rollout of the same name.
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    assert!(store.open_orders(&spring).await.unwrap().is_empty());
    let late = other.order(late).await.unwrap().unwrap();
    assert!(matches!(late.outcome, Some(OrderOutcome::Refused(_))));
}

async fn an_order_is_settled_with_its_step<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    let (spring, autumn) = (name("spring"), name("autumn"));
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    let order = |order| NewOrder { rollout: &spring, order, reason: None, by: "me", at: at(1) };
    let approve = store.give_order(order(Order::Approve)).await.unwrap();
    let pause = store.give_order(order(Order::Pause)).await.unwrap();
    let outcomes = [
        OrderOutcome::Done("refused: is only what an operator called a wave".to_owned()),
        OrderOutcome::Refused("it is paused already".to_owned()),
    ];
    let settled = [approve, pause].into_iter().zip(outcomes.clone());
    let settled: Vec<Settled> = settled.map(|(id, outcome)| Settled { id, outcome }).collect();
    // A step that is not stored settles nothing.
    let lost = Step { settled: &settled, ..step(&autumn, "1") };
    assert!(matches!(store.save(lost).await, Err(StoreError::NoRollout(_))));
    assert_eq!(store.open_orders(&spring).await.unwrap().len(), 2);
    store.save(Step { settled: &settled, ..step(&spring, "1") }).await.unwrap();
    let other = factory.again().await;
    assert!(other.open_orders(&spring).await.unwrap().is_empty());
    for (id, outcome) in [approve, pause].into_iter().zip(outcomes) {
        let order = other.order(id).await.unwrap().unwrap();
        assert_eq!((order.outcome, order.settled_at), (Some(outcome), Some(at(20))));
    }
}

async fn events_are_found_from_both_ends<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    for rollout in ["spring", "summer"] {
        begin(&store, rollout, &[&format!("{rollout}/lamp")]).await.unwrap();
    }
    let spring = name("spring");
    for number in 0..20 {
        let (rollout, agent) =
            if number % 2 == 0 { ("spring", "hall/lamp-1") } else { ("summer", "hall/lamp-2") };
        let facts = [fact(number, rollout, Some(agent), &number.to_string())];
        store.save(Step { facts: &facts, ..step(&spring, "1") }).await.unwrap();
    }
    let texts = async |query: EventQuery| -> Vec<String> {
        store.events(&query).await.unwrap().into_iter().map(|event| event.fact.text).collect()
    };
    assert_eq!(texts(newest(3)).await, ["17", "18", "19"]);
    let of_summer = EventQuery { rollout: Some(name("summer")), ..newest(2) };
    assert_eq!(texts(of_summer.clone()).await, ["17", "19"]);
    assert_eq!(texts(EventQuery { after: Some(0), ..of_summer }).await, ["1", "3"]);
    let about = EventQuery { agent: Some(key("hall/lamp-1")), after: Some(0), ..newest(2) };
    assert_eq!(texts(about).await, ["0", "2"]);
    let all = store.events(&EventQuery { after: Some(0), ..newest(99) }).await.unwrap();
    assert!(all.is_sorted_by(|one, other| one.id < other.id) && all.len() == 20);
    let rest = EventQuery { after: Some(all[17].id), ..newest(99) };
    assert_eq!(texts(rest).await, ["18", "19"]);
}

async fn a_revision_tells_of_other_processes<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    let before = store.revision().await.unwrap();
    assert_eq!(store.revision().await.unwrap(), before);
    let spring = name("spring");
    factory.again().await.save(step(&spring, "1")).await.unwrap();
    let after = store.revision().await.unwrap();
    assert_ne!(after, before);
    store.save(step(&spring, "2")).await.unwrap();
    assert_ne!(store.revision().await.unwrap(), after);
}

async fn who_is_heard_is_remembered<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    let hall = name("hall");
    store.sync_agents(&hall, &[member("lamp-1", Some(1)), member("lamp-2", Some(2))], "1").await.unwrap();
    let heard = ["hall/lamp-1", "hall/lamp-9"].map(|agent| Heard { key: key(agent), installed: u64::MAX });
    store.hear(&heard, at(7)).await.unwrap();
    let agents = factory.again().await.agents(None).await.unwrap();
    let known: Vec<_> = agents.iter().map(|agent| (agent.installed, agent.heard)).collect();
    assert_eq!(known, [(u64::MAX, Some(at(7))), (0, None)]);
    // One that does not say what it runs takes nothing back.
    store.hear(&[Heard { key: key("hall/lamp-1"), installed: 0 }], at(8)).await.unwrap();
    let agent = store.agent(&key("hall/lamp-1")).await.unwrap().unwrap();
    assert_eq!((agent.installed, agent.heard), (u64::MAX, Some(at(8))));
    assert_eq!(agents[0].progress, None);
}

async fn the_last_loss_counts<F: Factory>(factory: &mut F) {
    let store = factory.empty().await;
    assert!(store.losses().await.unwrap().is_empty());
    let (hall, yard) = (name("hall"), name("yard"));
    let loss = |missed, second| Loss { awaited: u64::MAX, missed, at: at(second) };
    for (group, loss) in [(&hall, loss(1, 1)), (&yard, loss(2, 2)), (&hall, loss(3, 3))] {
        store.note_loss(group, loss).await.unwrap();
    }
    let losses = factory.again().await.losses().await.unwrap();
    assert_eq!(losses, BTreeMap::from([(hall.clone(), loss(3, 3)), (yard.clone(), loss(2, 2))]));
    store.forget_group(&hall).await.unwrap();
    assert_eq!(store.losses().await.unwrap().into_keys().collect::<Vec<_>>(), [yard]);
}

async fn the_epoch_stays<F: Factory>(factory: &mut F) {
    let other = factory.empty().await.epoch().await.unwrap().database;
    let store = factory.empty().await;
    let first = store.epoch().await.unwrap();
    assert_eq!(first.number, 0);
    assert_ne!(first.database, other);
    store.set_epoch(u64::MAX - 1).await.unwrap();
    let again = factory.again().await.epoch().await.unwrap();
    assert_eq!((again.database, again.number), (first.database, u64::MAX - 1));
}
