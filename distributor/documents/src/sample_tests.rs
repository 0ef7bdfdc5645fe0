//! Runs `manifests/building.yaml` from its text to its end with a simulated clock: it works at night and
//! takes a week.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday, time};
use jiff::tz::TimeZone;
use provisioning::{Hex, Name};
use uuid::Uuid;

use crate::compile::{FleetAgent, FleetGroup, FleetImage, compile};
use crate::source::Source;
use crate::{Manifest, Manifests};
use rollout_engine::Task;
use rollout_engine::plan::{Plan, PlannedImage};
use rollout_engine::record::{Order, Outcome};
use rollout_engine::state::Stage;
use rollout_engine::testing::{Fleet, NEW};

const VENDOR: Uuid = Uuid::from_u128(1);
const LAMP: Uuid = Uuid::from_u128(2);

fn agent(name: String, labels: [(&str, &str); 3]) -> FleetAgent {
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    FleetAgent {
        name: Name::new(&name).unwrap(),
        vendor: VENDOR,
        class: LAMP,
        labels: BTreeMap::from(labels),
    }
}

/// 40 lamps, of which two are pilots and one is in the workshop, and three lamps in stairwells.
fn fleet() -> [FleetGroup; 2] {
    let ring = |number| match number {
        0 | 1 => "pilot",
        2 => "workshop",
        _ => "rest",
    };
    let lamps = (0..40).map(|number| {
        let labels = [("building", "north"), ("model", "lamp-2"), ("ring", ring(number))];
        agent(format!("lamp-{number:02}"), labels)
    });
    let stairs = (1..=3).map(|number| {
        agent(format!("stair-{number}"), [("building", "north"), ("model", "lamp-1"), ("ring", "rest")])
    });
    let group = |name: &str, agents| FleetGroup {
        name: Name::new(name).unwrap(),
        coap_group: "239.192.0.1:5683".parse().unwrap(),
        distributor: format!("127.0.0.{}:5683", name.len()).parse().unwrap(),
        block_bytes: 1024,
        agents,
    };
    [group("building-lamps", lamps.collect()), group("building-stairs", stairs.collect())]
}

fn sample() -> Plan {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../manifests/building.yaml");
    let source = Source {
        name: "building.yaml".to_owned(),
        folder: ".".into(),
        text: std::fs::read_to_string(file).unwrap(),
    };
    let manifests = Manifests::read(vec![source]).unwrap_or_else(|problems| panic!("{problems:?}"));
    let groups: Vec<_> = manifests
        .found
        .iter()
        .filter_map(
            |found| if let Manifest::RolloutGroup(group) = &found.manifest { Some(group) } else { None },
        )
        .collect();
    let rollout = manifests.found.iter().find_map(|found| {
        if let Manifest::Rollout(rollout) = &found.manifest { Some(rollout) } else { None }
    });
    let planned = PlannedImage {
        digest: Hex(vec![7; 32]),
        name: Name::new("night-2-5-0").unwrap(),
        version: "2.5.0".to_owned(),
        sequence_number: NEW,
        bytes: 100_000,
        block_bytes: 1024,
    };
    let image = FleetImage { planned, vendor: VENDOR, class: LAMP };
    compile(rollout.unwrap(), &groups, &image, &fleet()).unwrap_or_else(|flaws| panic!("{flaws:?}")).plan
}

/// Weekday and time in the building.
fn there(moment: Timestamp) -> (Weekday, Time) {
    let zoned = moment.to_zoned(TimeZone::get("Europe/Amsterdam").unwrap());
    (zoned.weekday(), zoned.time())
}

/// Continues until it waits for an agent or an operator; returns each run with its start time.
fn go(fleet: &mut Fleet) -> Vec<(Timestamp, Task)> {
    let mut runs = Vec::new();
    loop {
        let (moment, before) = (fleet.wall(), fleet.runs.len());
        if !fleet.step() {
            return runs;
        }
        runs.extend(fleet.runs[before..].iter().map(|task| (moment, task.clone())));
    }
}

#[test]
fn the_building_is_updated_at_night_wave_by_wave() {
    let plan = sample();
    let sizes: Vec<_> = plan.waves.iter().map(|wave| (wave.name.as_str(), wave.agents.len())).collect();
    // Percentages are of all 42, pilots included.
    assert_eq!(sizes, [("pilot", 2), ("tenth", 5), ("third", 12), ("others", 23)]);
    let mut fleet = Fleet::new(plan);
    // Noon on a Wednesday, and no operator has started it.
    assert_eq!(go(&mut fleet), []);
    fleet.order(Order::Start).unwrap();
    let mut runs = go(&mut fleet);
    assert!(matches!(fleet.engine.state().stage, Stage::Approval { wave: 0 }), "{:?}", fleet.engine.state());
    fleet.order(Order::Approve).unwrap();
    runs.extend(go(&mut fleet));
    assert_eq!(fleet.engine.state().outcome(), Some(Outcome::Done));

    let of = |wanted: fn(&Task) -> bool| runs.iter().filter(move |(_, task)| wanted(task));
    let transfers: Vec<_> = of(|task| *task == Task::Transfer).map(|(moment, _)| there(*moment)).collect();
    assert_eq!(transfers, [(Weekday::Wednesday, time(22, 0, 0, 0))]);
    let activations: Vec<_> = of(|task| matches!(task, Task::Activate(_)))
        .map(|(moment, task)| match task {
            Task::Activate(told) => (there(*moment), told.len()),
            _ => unreachable!("only activations are left"),
        })
        .collect();
    // Pilots are watched for a day, and the window opens from Tuesday to Thursday only.
    let at = |weekday| (weekday, time(3, 0, 0, 0));
    let expected = [
        (at(Weekday::Thursday), 2),
        (at(Weekday::Tuesday), 5),
        (at(Weekday::Wednesday), 12),
        (at(Weekday::Thursday), 23),
    ];
    assert_eq!(activations, expected);
}
