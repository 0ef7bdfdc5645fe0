//! scratch
use tests::world::{Options, run};
fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    if args.len() == 1 {
        let mut o = Options::of(args[0]);
        o.tell = std::env::var("TELL").is_ok();
        println!("{o:?}");
        println!("{:?}", run(args[0], &o));
        return;
    }
    if args.len() == 3 {
        let mut o = Options::perfect(args[0] as usize, args[1] as u32, 1024);
        o.faults = tests::world::Faults::loss(args[2] as f64 / 100.0);
        o.tell = std::env::var("TELL").is_ok();
        println!("{:?}", run(1, &o));
        return;
    }
    let mut bad = 0;
    for seed in args[0]..args[1] {
        let t = std::time::Instant::now();
        let r = run(seed, &Options::of(seed));
        if !r.violations.is_empty() {
            bad += 1;
            println!("{seed} {:?} {:?}", t.elapsed(), r.violations);
        } else if t.elapsed().as_secs() > 2 {
            println!("{seed} took {:?}", t.elapsed());
        }
    }
    println!("{bad} bad");
}
