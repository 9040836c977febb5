//! What several tests of the command begin with.

/// A run that takes a moment.
pub const SMALL: &str = r#"
[data]
path = "data.csv"
split = { shares = [0.6, 0.2, 0.2] }
season = 24

[model]
horizon = 8
taps = 12
width = 16
scaler = { window = 48 }
linear = { lookback = 48 }

[[model.layers]]
type = "mixture"
num_experts = 3
experts = [{ type = "s4d", states = 4 }, { type = "swiglu" }]

[train]
epochs = 3
window = 64
burn_in = 8
keep_network = true
"#;

/// Two columns of so many rows.
pub fn csv(rows: usize) -> String {
    let line = |t: usize| format!("{t},{},{}\n", (t as f64 * 0.26).sin() + (t % 5) as f64 * 0.1, (t as f64 * 0.5).cos() * 40.0);
    "time,load,oil temperature\n".to_string() + &(0..rows).map(line).collect::<String>()
}

/// A folder with data and a run.
pub fn small(run: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data.csv"), csv(900)).unwrap();
    std::fs::write(folder.path().join("run.toml"), run).unwrap();
    folder
}
