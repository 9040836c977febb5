//! Do covariates help, and does a useless one hurt? Variants of `examples/accuracy/bike_sharing.toml`, trained with three seeds; the whole model on test rows.

use super::{
    Bound::AtMost,
    Group, Measured, Options,
    accuracy::{Source, find},
    figure,
    mixture::{SEEDS, largest, mean, smallest, train},
};
use crate::{Failure, root};
use sha2::{Digest, Sha256};

/// Ratios of mean squared errors on test rows, means over the seeds.
pub const GROUP: Group = Group {
    figures: &[
        figure("covariates.all_over_none", "ratio", AtMost(0.95)),
        figure("covariates.noise_over_none", "ratio", AtMost(1.01)),
        figure("covariates.all_and_noise_over_all", "ratio", AtMost(1.01)),
    ],
    measure,
};

const SOURCE: Source =
    Source { name: "bike_sharing_dataset_clean.csv", sha256: "b2252681fd3f41eacbbd7242b1184e6aa364c4c01267db2b4b7d706aea184d36" };

/// The file with a column `noise`, evenly spread over 0 to 1.
fn with_noise(text: &str) -> String {
    let noise = |row: usize| {
        let bytes = Sha256::digest(row.to_le_bytes());
        f64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) / f64::from(u32::MAX)
    };
    let line = |(row, line): (usize, &str)| match row {
        0 => format!("{line},noise\n"),
        row => format!("{line},{}\n", noise(row)),
    };
    text.lines().enumerate().map(line).collect()
}

fn measure(options: &Options) -> Result<Measured, Failure> {
    let path = options.data.as_ref().map(|data| find(data, &SOURCE)).transpose()?.flatten();
    let Some(path) = path else {
        println!("# covariates: left out; `--data DIR` with {} (and its SHA-256) measures it", SOURCE.name);
        return Ok(Measured::new());
    };
    let folder = tempfile::tempdir()?;
    let data = folder.path().join(SOURCE.name);
    std::fs::write(&data, with_noise(&std::fs::read_to_string(path)?))?;
    let example = std::fs::read_to_string(root().join("examples/accuracy/bike_sharing.toml"))?;
    let known = |line: &str| line.starts_with("read = ");
    let calendar = |line: &str| line.starts_with("calendar = ");
    let text = |keep: &dyn Fn(&str) -> bool, noise: bool| -> String {
        let line = |line: &str| match line {
            line if line.starts_with("path = ") => format!("path = {data:?}\n"),
            line if known(line) && keep(line) && noise => line.replace("\"]", "\", \"noise\"]") + "\n",
            line if known(line) && noise => "read = { future = [\"noise\"] }\n".into(),
            line if (known(line) || calendar(line)) && !keep(line) => String::new(),
            line => format!("{line}\n"),
        };
        example.lines().map(line).collect()
    };
    let errors = |name: &str, keep: &dyn Fn(&str) -> bool, noise: bool| -> Result<f64, Failure> {
        let mut scores = [(); 3].map(|()| Vec::new());
        for seed in SEEDS {
            let metrics = train(folder.path(), name, &text(keep, noise), seed)?;
            for (values, score) in scores.iter_mut().zip(["mse", "mae", "wql"]) {
                values.push(metrics["test"]["model"][score].as_f64().unwrap_or(f64::NAN));
            }
        }
        let [mse, mae, wql] = scores.map(|values| (mean(&values), (largest(&values) - smallest(&values)) / 2.0));
        println!(
            "# {name:24} test MSE {:.4} ± {:.4}, MAE {:.4} ± {:.4}, WQL {:.4} ± {:.4}",
            mse.0, mse.1, mae.0, mae.1, wql.0, wql.1
        );
        Ok(mse.0)
    };
    let none = errors("none", &|_| false, false)?;
    errors("calendar", &calendar, false)?;
    errors("holidays and weather", &known, false)?;
    let all = errors("all", &|_| true, false)?;
    let noise = errors("noise alone", &|_| false, true)?;
    let all_and_noise = errors("all and noise", &|_| true, true)?;
    Ok(Measured::from([
        ("covariates.all_over_none".into(), all / none),
        ("covariates.noise_over_none".into(), noise / none),
        ("covariates.all_and_noise_over_all".into(), all_and_noise / all),
    ]))
}
