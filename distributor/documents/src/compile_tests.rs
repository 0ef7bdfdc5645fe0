//! Tests of [`super`]: a fleet of two security groups.

use provisioning::Hex;

use super::*;
use crate::Manifest;
use crate::read::Manifests;
use crate::source::Source;

const VENDOR: Uuid = Uuid::from_u128(1);
const LAMP: Uuid = Uuid::from_u128(2);
const PUMP: Uuid = Uuid::from_u128(3);

const GROUP: &str = "apiVersion: fwcast/v1\nkind: RolloutGroup\nmetadata: {name: lamps}\nspec:\n  members: \
                     {selector: {matchLabels: {model: lamp}}}\n  security: {group: hall}\n";
const ROLLOUT: &str = "apiVersion: fwcast/v1\nkind: Rollout\nmetadata: {name: lamp-fw-2}\nspec:\n  image: \
                       lamp-fw\n  groups: [lamps]\n  waves:\n  - {name: canary, size: 2, soak: 1m, \
                       approval: manual}\n  - {name: early, size: 6}\n  - {name: others, size: rest}\n";

/// `hall` has 20 unsorted lamps and a pump; `yard` has two lamps.
fn fleet() -> Vec<FleetGroup> {
    let agent = |name: String, model: &str, class| FleetAgent {
        name: Name::new(&name).unwrap(),
        vendor: VENDOR,
        class,
        labels: BTreeMap::from([("model".to_owned(), model.to_owned())]),
    };
    let group = |name: &str, agents| FleetGroup {
        name: Name::new(name).unwrap(),
        coap_group: "239.192.0.1:5683".parse().unwrap(),
        distributor: format!("127.0.0.{}:5683", name.as_bytes()[0]).parse().unwrap(),
        block_bytes: 1024,
        agents,
    };
    let mut hall: Vec<_> =
        (0..20).rev().map(|number| agent(format!("lamp-{number:02}"), "lamp", LAMP)).collect();
    hall.push(agent("pump-1".to_owned(), "pump", PUMP));
    let yard = (0..2).map(|number| agent(format!("lamp-{number:02}"), "lamp", LAMP)).collect();
    vec![group("hall", hall), group("yard", yard)]
}

fn image(class: Uuid) -> FleetImage {
    let planned = PlannedImage {
        digest: Hex(vec![7; 32]),
        name: Name::new("lamp-fw").unwrap(),
        version: "2.4.1".to_owned(),
        sequence_number: 7,
        bytes: 10_000,
        block_bytes: 1024,
    };
    FleetImage { planned, vendor: VENDOR, class }
}

fn compiled(documents: &[&str], image: &FleetImage) -> Result<Compiled, Vec<UnplacedDiagnostic>> {
    let text = documents.join("---\n");
    let source = Source { name: "a.yaml".to_owned(), folder: ".".into(), text };
    let manifests = Manifests::read(vec![source]).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut groups = Vec::new();
    let mut rollout = None;
    for found in &manifests.found {
        match &found.manifest {
            Manifest::RolloutGroup(group) => groups.push(group),
            Manifest::Rollout(it) => rollout = Some(it),
            Manifest::Image(_) => {}
        }
    }
    compile(rollout.unwrap(), &groups, image, &fleet())
}

fn refused(documents: &[&str], image: &FleetImage, said: &str) {
    let diagnostics = compiled(documents, image).unwrap_err();
    assert!(
        diagnostics.iter().any(|diagnostic| diagnostic.problem.contains(said)),
        "{said}: {diagnostics:?}"
    );
}

#[test]
fn a_rollout_becomes_agents_and_numbers() {
    let compiled = compiled(&[GROUP, ROLLOUT], &image(LAMP)).unwrap();
    let plan = &compiled.plan;
    let counts: Vec<_> = plan.waves.iter().map(|wave| (wave.name.as_str(), wave.agents.len())).collect();
    assert_eq!(counts, [("canary", 2), ("early", 6), ("others", 12)]);
    assert_eq!((plan.waves[0].soak_s, plan.waves[0].approval, plan.waves[1].approval), (60, true, false));
    // In order of the names, whatever the order of enrollment.
    let first: Vec<String> = plan.waves[0].agents.iter().map(ToString::to_string).collect();
    assert_eq!(first, ["hall/lamp-00", "hall/lamp-01"]);
    assert_eq!(plan.agents().count(), 20);
    assert_eq!((plan.lanes.len(), plan.lanes[0].agents.len()), (1, 20));
    assert_eq!((plan.transfer_within_s, plan.report_within_s), (6 * 3600, 600));
    assert_eq!(plan.deferred_within_s, 3600);
    assert_eq!((plan.abort.min_sample, plan.abort.failed, plan.activation), (1, None, When::Now));
    // It survives serialization.
    let text = serde_json::to_string(plan).unwrap();
    assert_eq!(&serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn every_setting_arrives_in_the_plan() {
    let group = GROUP.replace(
        "  security:",
        "  transport: {interface: eth1, hops: 3, rate: 2Mbit/s, blockSize: 1024, group: \
         'coap://239.192.0.1:5683'}\n  security:",
    );
    let settings = "  success: {minimum: 95%}
  abort: {failed: 3%, lost: 5%, minSample: 10}
  windows:
    transfer: [{cron: '0 1 * * *', for: 4h, tz: Europe/Amsterdam}]
    activate: [{cron: '0 3 * * *', for: 1h, tz: UTC}]
  activation: {when: window, confirmWithin: 5m}
  deadlines: {transfer: 2h, report: 30m}
  retry: {max: 3, backoff: 15m, on: [lost, busy]}
  paused: true
";
    let plan = compiled(&[&group, &format!("{ROLLOUT}{settings}")], &image(LAMP)).unwrap().plan;
    let lane = &plan.lanes[0];
    assert_eq!(
        (lane.interface.as_deref(), lane.hops, lane.rate_bits_per_second),
        (Some("eth1"), Some(3), Some(2_000_000))
    );
    assert_eq!(plan.success.to_string(), "95%");
    assert_eq!((plan.abort.failed.unwrap().to_string(), plan.abort.min_sample), ("3%".to_owned(), 10));
    assert_eq!((plan.transfer_windows.as_slice().len(), plan.activation_windows.as_slice().len()), (1, 1));
    assert_eq!((plan.activation, plan.paused), (When::Window, true));
    assert_eq!((plan.transfer_within_s, plan.report_within_s), (7200, 300 + 1800));
    assert_eq!((plan.retry.max, plan.retry.backoff_s, plan.retry.on.len()), (3, 900, 2));
}

#[test]
fn without_waves_all_activate_together() {
    let rollout = ROLLOUT.split("  waves:").next().unwrap();
    let plan = compiled(&[GROUP, rollout], &image(LAMP)).unwrap().plan;
    assert_eq!((plan.waves.len(), plan.waves[0].agents.len()), (1, 20));
}

#[test]
fn agents_that_the_image_is_not_for_are_left_out() {
    let all = GROUP.replace("{matchLabels: {model: lamp}}", "{}");
    let it = compiled(&[&all, ROLLOUT], &image(LAMP)).unwrap();
    assert_eq!(it.plan.agents().count(), 20);
    let left_out: Vec<String> = it.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(left_out, ["hall/pump-1"]);
}

#[test]
fn agents_of_the_same_name_in_two_security_groups_are_two() {
    let yard = GROUP.replace("name: lamps", "name: yard-lamps").replace("group: hall", "group: yard");
    let rollout = ROLLOUT.replace("[lamps]", "[lamps, yard-lamps]");
    let plan = compiled(&[GROUP, &yard, &rollout], &image(LAMP)).unwrap().plan;
    let canary: Vec<String> = plan.waves[0].agents.iter().map(ToString::to_string).collect();
    assert_eq!(canary, ["hall/lamp-00", "yard/lamp-00"]);
    assert_eq!(plan.agents().count(), 22);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let lamp = image(LAMP);
    refused(&[ROLLOUT], &lamp, "no RolloutGroup 'lamps'");
    refused(&[&GROUP.replace("group: hall", "group: attic"), ROLLOUT], &lamp, "no security group 'attic'");
    refused(
        &[&GROUP.replace("model: lamp", "model: x"), ROLLOUT],
        &lamp,
        "has no agents, because none of the 21",
    );
    refused(&[GROUP, ROLLOUT], &image(PUMP), "no agent of group 'lamps' can take the image 'lamp-fw'");
    refused(&[GROUP, &ROLLOUT.replace("size: rest", "size: 11")], &lamp, "19 of 20 agents");
    refused(&[GROUP, &ROLLOUT.replace("size: rest", "size: 13")], &lamp, "wants 13 of 20 agents, but 12");
    let list =
        GROUP.replace("{selector: {matchLabels: {model: lamp}}}", "{agents: [lamp-00, lamp-98, lamp-99]}");
    refused(&[&list, ROLLOUT], &lamp, "'lamp-98' and 1 more of group 'lamps' is not enrolled");
    let other = GROUP.replace("name: lamps", "name: others");
    let both = ROLLOUT.replace("[lamps]", "[lamps, others]");
    refused(&[GROUP, &other, &both], &lamp, "agent 'lamp-00' is in the groups 'lamps' and 'others'");
    let transport =
        |line: &str| GROUP.replace("  security:", &format!("  transport: {{{line}}}\n  security:"));
    refused(&[&transport("blockSize: 512"), ROLLOUT], &lamp, "uses blocks of 1024");
    refused(
        &[&transport("group: 'coap://239.192.0.2:5683'"), ROLLOUT],
        &lamp,
        "listen on coap://239.192.0.1:5683",
    );
    let mut small = image(LAMP);
    small.planned.block_bytes = 256;
    refused(&[GROUP, ROLLOUT], &small, "--block-size 1024");
    let never = format!("{ROLLOUT}  windows: {{transfer: [{{cron: '0 0 31 2 *', for: 1h, tz: UTC}}]}}\n");
    refused(&[GROUP, &never], &lamp, "never opens");
}
