//! The program that libFuzzer drives, and, built without it, the one that writes the seeds.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<fn(&[u8]) -> bool> = OnceLock::new();
    let run = CHOSEN.get_or_init(|| {
        let name = std::env::var("RESEED_FUZZ").unwrap_or_default();
        reseed_fuzz::target(&name).expect("RESEED_FUZZ names a target").run
    });
    run(data);
});

/// `fuzz` lists the targets; `fuzz NAME DIRECTORY` writes what a target begins with.
#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [name, directory] = args.as_slice() else {
        reseed_fuzz::TARGETS.iter().for_each(|target| println!("{}", target.name));
        return Ok(());
    };
    let target = reseed_fuzz::target(name).expect("a target's name");
    std::fs::create_dir_all(directory)?;
    for (index, input) in target.inputs().iter().enumerate() {
        std::fs::write(format!("{directory}/seed-{index:03}"), input)?;
    }
    Ok(())
}
