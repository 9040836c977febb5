//! Kills a training again and again, and looks at what is left of it.

use crate::{Failure, root, run};
use rand::{Rng, SeedableRng};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// The run that is killed: every kind of state that a checkpoint has to hold.
const RUN: &str = r#"
[data]
path = "../../examples/data/ETTh1.csv"
split = { rows = [2000, 500, 500] }
season = 24

[model]
horizon = 24
taps = 48
width = 32

[[model.layers]]
type = "mixture"
num_experts = 4
experts = [{ type = "mamba" }, { type = "swiglu" }]
routing_strategy = "noisy-top-k"
expert_dropout = 0.1

[train]
epochs = 12
patience = 12
window = 128
carry = true
ema = 0.99
accumulate = 2
checkpoint_steps = 2
"#;

/// Kills a training `kills` times with SIGKILL at random moments, and goes on with it until `resumes` trainings have ended with the bits of
/// one that was never killed.
pub fn soak(kills: u64, resumes: u64, seed: u64) -> Result<(), Failure> {
    run("cargo", &["build", "--release"], &[])?;
    let program = root().join("target/release/foretoken");
    let folder = root().join("target/soak");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("run.toml"), RUN)?;
    let train = |out: &str, resume: bool| {
        let mut command = Command::new(&program);
        command.args(["train", "run.toml", "--out", out]).args(resume.then_some("--resume"));
        command.current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let model = |out: &str| fs::read(folder.join(out).join("model.safetensors"));
    let started = Instant::now();
    let output = train("straight", false).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let straight = model("straight")?;
    let longest = started.elapsed().mul_f64(0.6);
    println!("without a kill: {:.2} s", started.elapsed().as_secs_f64());
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let (mut killed, mut ended, mut loaded, mut none) = (0, 0, 0, 0);
    while killed < kills || ended < resumes {
        let checkpoint = folder.join("killed/checkpoint.safetensors");
        let resume = checkpoint.exists();
        let mut child = train("killed", resume).spawn()?;
        let until = Instant::now() + longest.mul_f64(rng.random::<f64>());
        // Once enough were killed, what is resumed may end.
        let may_end = killed >= kills && resume;
        while may_end || Instant::now() < until {
            if child.try_wait()?.is_some() {
                break;
            }
            sleep(Duration::from_millis(1));
        }
        if child.try_wait()?.is_none() {
            child.kill()?;
            child.wait()?;
            killed += 1;
            match checkpoint.exists() {
                true => {
                    inspect(&program, &checkpoint)?;
                    loaded += 1;
                }
                false => none += 1,
            }
            println!("{killed} of {kills} killed, {loaded} checkpoints loaded, {none} times none yet; {ended} ended alike");
            continue;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        if model("killed")? != straight {
            return Err("a training that was killed and resumed ended with other weights".into());
        }
        ended += 1;
        fs::remove_dir_all(folder.join("killed"))?;
    }
    println!(
        "{killed} kills: every checkpoint could be loaded; {ended} trainings that were resumed ended with the bits of one never killed"
    );
    Ok(())
}

fn inspect(program: &Path, checkpoint: &Path) -> Result<(), Failure> {
    let output = Command::new(program).arg("inspect").arg(checkpoint).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}
