//! The weights file: safetensors, with the whole configuration and a format version in its header, written atomically.

use crate::{
    ModelError,
    conformal::{Calibration, Held},
    covariates::Covariates,
    forecaster::{Blueprint, Column, Forecaster, ForecasterConfig},
    layer::Registry,
    linear_expert::{LinearWeights, SomeMaps},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Version of the weights file.
pub const FORMAT_VERSION: u32 = 12;
/// That of a file whose columns follow no jumps, which is the same.
const STEADY_VERSION: u32 = 11;
/// That of a file whose columns have no limits, and whose linear expert no autoregression, which is the same.
const UNLIMITED_VERSION: u32 = 10;
/// That of one whose linear expert has no corrections either.
const UNCORRECTED_VERSION: u32 = 9;
/// That of one whose columns respond to nothing either.
const UNDRIVEN_VERSION: u32 = 8;
/// That of one whose columns have no bounds either.
const UNBOUNDED_VERSION: u32 = 7;

/// The first version whose checksum knows the tensors' names, and is always there.
const NAMED_SINCE: u32 = 6;

/// Largest header of a safetensors file.
const HEADER_LIMIT: usize = 100_000_000;

/// How the names of files end that are not whole yet.
const UNPUBLISHED: &str = ".foretoken-part";

const KEY: &str = "foretoken";
/// Bytes of the hash of header, tensors and, from version 6 on, their names. Version 1 may have none.
const CHECKSUM: &str = "checksum";
const NETWORK: &str = "network.";
const LINEAR_WEIGHTS: &str = "linear.weights";
const LINEAR_BIAS: &str = "linear.bias";
const LINEAR_OWN: &str = "linear.own";
const CORRECTION_OWN: &str = "linear.correction.own";
const CORRECTION_ACROSS: &str = "linear.correction.across";
const CORRECTION_KEEP: &str = "linear.correction.keep";
const NETWORK_SHARE: &str = "network_share";
const CALIBRATION: &str = "calibration";
const CALIBRATION_COLUMNS: &str = "calibration.columns";
const CALIBRATION_HELD: &str = "calibration.held";
const CALIBRATION_SIZES: &str = "calibration.sizes";
const CALIBRATION_CENTRES: &str = "calibration.centres";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format_version: u32,
    columns: Vec<Column>,
    #[serde(default)]
    covariates: Covariates,
    forecaster: ForecasterConfig,
    /// Which columns have maps of the linear expert's corrections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    corrected: Option<Corrected>,
}

/// The columns of corrections by own samples, and by those of all columns.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corrected {
    own: Vec<usize>,
    across: Vec<usize>,
}

/// Writes `bytes` to `path` so that a reader, or a crash, sees the old file or the new one and nothing between. A link leads to its file; into what is
/// no file, a pipe or a device, they are written as they are.
///
/// # Errors
/// A file that cannot be written; what was there is whole.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let io = |source| ModelError::Io { path: path.into(), source };
    if path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let mut file = std::fs::OpenOptions::new().write(true).open(path).map_err(io)?;
        return file.write_all(bytes).map_err(io);
    }
    let mut file = begin(path)?;
    file.write_all(bytes).map_err(io)?;
    publish(file, path)
}

/// Where a path leads to, through links.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.into())
}

/// The folder that a file lies in.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file without a name beside `path`, for what is written in parts; [`publish`] gives it the name.
///
/// # Errors
/// A folder that takes no file.
pub fn begin(path: &Path) -> Result<NamedTempFile, ModelError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(UNPUBLISHED);
    // Readable by whom the user's mask lets read, as any file a program writes, or by nobody else than what stands there.
    #[cfg(unix)]
    {
        use std::{fs::Permissions, os::unix::fs::PermissionsExt};
        let before = real(path).metadata().map_or(0o666, |before| before.permissions().mode() & 0o666);
        builder.permissions(Permissions::from_mode(before));
    }
    builder.tempfile_in(folder(&real(path))).map_err(|source| ModelError::Io { path: path.into(), source })
}

/// Removes from `folder` what processes that were killed while they wrote have left there.
///
/// # Errors
/// A folder that cannot be read, or a file that cannot be removed.
pub fn sweep(folder: &Path) -> Result<(), ModelError> {
    let io = |source| ModelError::Io { path: folder.into(), source };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.to_str().is_some_and(|name| name.ends_with(UNPUBLISHED)) {
            std::fs::remove_file(path).map_err(io)?;
        }
    }
    Ok(())
}

/// Gives a file of [`begin`] its name, once all of it is on the disk.
///
/// # Errors
/// A file that cannot be synced, or that its name cannot be given to.
pub fn publish(file: NamedTempFile, path: &Path) -> Result<(), ModelError> {
    let io = |source| ModelError::Io { path: path.into(), source };
    let real = real(path);
    // Who may read what stood there may read this, and nobody else.
    if let Ok(before) = real.metadata() {
        file.as_file().set_permissions(before.permissions()).map_err(io)?;
    }
    file.as_file().sync_all().map_err(io)?;
    file.persist(&real).map_err(|error| io(error.error))?;
    std::fs::File::open(folder(&real)).and_then(|folder| folder.sync_all()).map_err(io)
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

impl Forecaster {
    fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<u8>)> {
        let specs = self.blueprint().layout.specs().iter();
        let mut tensors: Vec<_> = specs
            .map(|spec| (format!("{NETWORK}{}", spec.name), spec.weight.shape.to_vec(), bytes_of(spec.weight.of(self.weights()))))
            .collect();
        let horizon = self.config().horizon;
        tensors.push((NETWORK_SHARE.into(), vec![1, horizon], bytes_of(self.network_share())));
        if let Some(linear) = self.linear() {
            let weights = linear.weights();
            tensors.push((LINEAR_WEIGHTS.into(), vec![linear.options().inputs(), horizon], bytes_of(&weights.weights_lh)));
            tensors.push((LINEAR_BIAS.into(), vec![1, horizon], bytes_of(&weights.bias_h)));
            if let Some(own) = linear.options().own_lookback() {
                tensors.push((LINEAR_OWN.into(), vec![self.columns().len() * own, horizon], bytes_of(&weights.own_clh)));
            }
            for (name, maps) in [(CORRECTION_OWN, &weights.correct_own), (CORRECTION_ACROSS, &weights.correct_across)] {
                if !maps.columns.is_empty() {
                    tensors.push((name.into(), vec![maps.maps_kih.len() / horizon, horizon], bytes_of(&maps.maps_kih)));
                }
            }
            if !weights.keep_ch.is_empty() {
                tensors.push((CORRECTION_KEEP.into(), vec![self.columns().len(), horizon], bytes_of(&weights.keep_ch)));
            }
        }
        if let Some(calibration) = self.calibration() {
            let shape = vec![horizon, self.config().quantiles.len()];
            tensors.push((CALIBRATION.into(), shape.clone(), bytes_of(calibration.factors())));
            let columns = self.columns().len();
            tensors.push((CALIBRATION_COLUMNS.into(), vec![1, columns], bytes_of(calibration.of_columns())));
            if let Some(held) = calibration.held() {
                tensors.push((CALIBRATION_HELD.into(), shape, bytes_of(&held.distances_hq)));
                tensors.push((CALIBRATION_SIZES.into(), vec![columns, horizon], bytes_of(&held.sizes_ch)));
            }
            if !calibration.centres().is_empty() {
                tensors.push((CALIBRATION_CENTRES.into(), vec![columns, horizon], bytes_of(calibration.centres())));
            }
        }
        tensors
    }

    fn header(&self) -> Result<String, ModelError> {
        let linear = self.linear().filter(|linear| linear.options().correction.is_some());
        let corrected = linear.map(|linear| {
            let LinearWeights { correct_own, correct_across, .. } = linear.weights();
            Corrected { own: correct_own.columns.clone(), across: correct_across.columns.clone() }
        });
        let limited = self.columns().iter().chain(&self.covariates().past).any(|column| !column.limits.is_empty());
        let correction = self.linear().and_then(|linear| linear.options().correction);
        let blended = correction.is_some_and(|correction| correction.autoregression);
        let header = Header {
            format_version: match (&corrected, &self.covariates().response) {
                _ if self.columns().iter().any(|column| column.jump.is_some()) => FORMAT_VERSION,
                _ if limited || blended => STEADY_VERSION,
                (Some(_), _) => UNLIMITED_VERSION,
                (None, Some(_)) => UNCORRECTED_VERSION,
                (None, None) if self.columns().iter().any(|column| !column.bounds.is_empty()) => UNDRIVEN_VERSION,
                (None, None) => UNBOUNDED_VERSION,
            },
            columns: self.columns().to_vec(),
            covariates: self.covariates().clone(),
            forecaster: self.config().clone(),
            corrected,
        };
        serde_json::to_string(&header).map_err(ModelError::syntax)
    }

    /// A name for exactly these weights and this configuration.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.header().unwrap_or_default());
        self.tensors().iter().for_each(|(_, _, bytes)| hash.update(bytes));
        short(&hash.finalize())
    }

    /// Writes the weights file. A failed write leaves an old file whole.
    ///
    /// # Errors
    /// A value that the header cannot hold, or a file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let tensors = self.tensors();
        let problem = |error: safetensors::SafeTensorError| ModelError::File { path: path.into(), problem: error.to_string() };
        let header = self.header()?;
        let checksum =
            checksum(&header, tensors.iter().map(|(name, _, bytes)| (name.as_str(), bytes.as_slice())).collect(), true);
        let weights = tensors
            .iter()
            .map(|(name, shape, bytes)| TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view)));
        let checksum = TensorView::new(Dtype::U8, vec![checksum.len()], &checksum).map(|view| (CHECKSUM, view));
        let views = weights.chain([checksum]).collect::<Result<Vec<_>, _>>().map_err(problem)?;
        let metadata = HashMap::from([(KEY.to_string(), header)]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(problem)?;
        if let Some(length) = header_length(&bytes).filter(|&length| length > HEADER_LIMIT as u64) {
            let problem =
                format!("expected a header of at most {HEADER_LIMIT} bytes, found {length}: fewer series, or shorter names");
            return Err(ModelError::File { path: path.into(), problem });
        }
        write_atomically(path, &bytes)
    }

    /// Reads a weights file.
    ///
    /// # Errors
    /// A missing, damaged or foreign file, one of another format version, or tensors that do not fit the configuration in the
    /// header; each names the file, what was expected and what was found.
    pub fn load(path: &Path, registry: &Registry) -> Result<Self, ModelError> {
        let file = path.to_path_buf();
        let bytes = std::fs::read(path).map_err(|source| ModelError::Io { path: file.clone(), source })?;
        let forecaster = Reader { path: file }.read(&bytes, registry)?;
        tracing::info!(path = %path.display(), parameters = forecaster.parameters(), "model loaded");
        Ok(forecaster)
    }
}

/// What is read first of a text whose other fields depend on it.
#[derive(Deserialize)]
pub(crate) struct Version {
    pub format_version: u32,
}

/// The first 8 bytes of a hash.
pub(crate) fn short(hash: &[u8]) -> String {
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Of the header and the tensors, in the order of their names; of these, too, where `named`.
fn checksum(header: &str, mut tensors: Vec<(&str, &[u8])>, named: bool) -> Vec<u8> {
    tensors.sort_unstable_by_key(|(name, _)| *name);
    let mut hash = Sha256::new();
    hash.update(header);
    for (name, bytes) in tensors {
        if named {
            hash.update(name);
        }
        hash.update(bytes);
    }
    hash.finalize()[..8].to_vec()
}

fn header_length(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<8>().map(|length| u64::from_le_bytes(*length))
}

struct Reader {
    path: PathBuf,
}

impl Reader {
    fn problem<T>(&self, problem: impl ToString) -> Result<T, ModelError> {
        Err(ModelError::File { path: self.path.clone(), problem: problem.to_string() })
    }

    fn read(&self, bytes: &[u8], registry: &Registry) -> Result<Forecaster, ModelError> {
        let Some(length) = header_length(bytes) else {
            return self.problem(format!("expected a safetensors file, found {} bytes", bytes.len()));
        };
        if length > HEADER_LIMIT as u64 {
            return self.problem("expected a model's safetensors file, found another kind of file");
        }
        let (_, metadata) = match SafeTensors::read_metadata(bytes) {
            Ok(read) => read,
            Err(error) => return self.problem(format!("expected a whole safetensors file, found: {error}")),
        };
        let Some(text) = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY)) else {
            return self.problem(format!("expected a foretoken model (`{KEY}` in the header), found another safetensors file"));
        };
        let version = match serde_json::from_str::<Version>(text) {
            // Version 1 has no calibration, 1 and 2 no covariates, 1 to 3 no maps and factors of the columns' own, 1 to 4 no distances of held-back
            // rows, 1 to 5 no names in their checksum, 1 to 6 no centres, 1 to 7 no bounds, 1 to 8 no
            // response, 1 to 9 no corrections, 1 to 10 no limits and no autoregression, 1 to 11 no jumps; all else is the same.
            Ok(Version { format_version: version @ 1..=FORMAT_VERSION }) => version,
            Ok(Version { format_version }) => {
                return self.problem(format!("format_version: expected {FORMAT_VERSION}, found {format_version}"));
            }
            Err(error) => return self.problem(format!("header `{KEY}`: {error}")),
        };
        let header: Header = match serde_json::from_str(text) {
            Ok(header) => header,
            Err(error) => return self.problem(format!("header `{KEY}`: {error}")),
        };
        let tensors = match SafeTensors::deserialize(bytes) {
            Ok(tensors) => tensors,
            Err(error) => return self.problem(format!("expected a whole safetensors file, found: {error}")),
        };
        let blueprint = Blueprint::new(&header.forecaster, registry).map_err(|error| match error {
            error @ ModelError::File { .. } => error,
            error => ModelError::File { path: self.path.clone(), problem: format!("header: {error}") },
        })?;
        let values = |name: &str, shape: [usize; 2]| self.tensor(&tensors, name, shape);
        let own = |name: &str| name.starts_with(NETWORK);
        let count = tensors.names().iter().filter(|name| own(name)).count();
        let weights = blueprint.layout.collect(count, |name| {
            let view = tensors.tensor(&format!("{NETWORK}{name}")).ok()?;
            let shape = <[usize; 2]>::try_from(view.shape()).ok().filter(|_| view.dtype() == Dtype::F32)?;
            Some((shape, view.data()))
        });
        let weights = match weights {
            Ok(weights) => weights,
            Err(problem) => return self.problem(problem),
        };
        let horizon = header.forecaster.horizon;
        let share = values(NETWORK_SHARE, [1, horizon])?;
        let correction = header.forecaster.linear.as_ref().and_then(|options| options.correction);
        let Corrected { own: by_own, across: by_all } = match (header.corrected, correction) {
            (Some(corrected), Some(_)) => corrected,
            (None, None) => Corrected { own: Vec::new(), across: Vec::new() },
            (Some(_), None) => return self.problem("header `corrected`: expected none, as there are no corrections, found one"),
            (None, Some(_)) => return self.problem("header `corrected`: expected one, as there are corrections, found none"),
        };
        let correction = correction.unwrap_or_default();
        let some = |name: &str, columns: Vec<usize>, inputs: usize| {
            let maps_kih = match columns.len() {
                0 => Vec::new(),
                count => values(name, [count.saturating_mul(inputs), horizon])?,
            };
            Ok::<_, ModelError>(SomeMaps { columns, maps_kih })
        };
        let linear = match &header.forecaster.linear {
            Some(options) => Some(LinearWeights {
                weights_lh: values(LINEAR_WEIGHTS, [options.inputs(), horizon])?,
                bias_h: values(LINEAR_BIAS, [1, horizon])?,
                own_clh: match options.own_lookback() {
                    Some(own) => values(LINEAR_OWN, [header.columns.len() * own, horizon])?,
                    None => Vec::new(),
                },
                correct_own: some(CORRECTION_OWN, by_own, correction.own)?,
                correct_across: some(CORRECTION_ACROSS, by_all, correction.inputs_across(header.columns.len()))?,
                keep_ch: match tensors.names().contains(&CORRECTION_KEEP) {
                    true => values(CORRECTION_KEEP, [header.columns.len(), horizon])?,
                    false => Vec::new(),
                },
            }),
            None => None,
        };
        let named = |error: ModelError| ModelError::File { path: self.path.clone(), problem: error.to_string() };
        let levels = blueprint.levels.clone();
        let calibration = match tensors.names().contains(&CALIBRATION) {
            true => {
                let of_steps = values(CALIBRATION, [horizon, levels.count()])?;
                let of_columns = match tensors.names().contains(&CALIBRATION_COLUMNS) {
                    true => values(CALIBRATION_COLUMNS, [1, header.columns.len()])?,
                    // Files up to version 3 have none.
                    false => vec![1.0; header.columns.len()],
                };
                let calibration = Calibration::new(of_steps, of_columns, horizon, &levels).map_err(named)?;
                let calibration = match tensors.names().contains(&CALIBRATION_HELD) {
                    true => {
                        let distances_hq = values(CALIBRATION_HELD, [horizon, levels.count()])?;
                        let sizes_ch = values(CALIBRATION_SIZES, [header.columns.len(), horizon])?;
                        calibration.beside(Held { distances_hq, sizes_ch }).map_err(named)?
                    }
                    // Files up to version 4 have none.
                    false => calibration,
                };
                Some(match tensors.names().contains(&CALIBRATION_CENTRES) {
                    true => {
                        let centres_ch = values(CALIBRATION_CENTRES, [header.columns.len(), horizon])?;
                        calibration.off_centre(centres_ch).map_err(named)?
                    }
                    false => calibration,
                })
            }
            false => None,
        };
        // What can be named was named; this finds the rest.
        let hashed = tensors.iter().filter(|(name, _)| *name != CHECKSUM);
        let found = checksum(text, hashed.map(|(name, view)| (name, view.data())).collect(), version >= NAMED_SINCE);
        match tensors.tensor(CHECKSUM) {
            Ok(expected) if expected.data() == found => {}
            Ok(_) => return self.problem("expected a whole file, found values of another checksum than was written with them"),
            Err(_) if version < NAMED_SINCE => {}
            Err(_) => return self.problem(format!("tensor `{CHECKSUM}`: expected one, found none")),
        }
        let forecaster = Forecaster::new(blueprint, header.columns, header.covariates, weights, linear, share);
        Ok(forecaster.map_err(named)?.calibrated(calibration))
    }

    fn tensor(&self, tensors: &SafeTensors<'_>, name: &str, shape: [usize; 2]) -> Result<Vec<f32>, ModelError> {
        let Ok(view) = tensors.tensor(name) else {
            return self.problem(format!("tensor `{name}`: expected {shape:?}, found none"));
        };
        if view.shape() != shape || view.dtype() != Dtype::F32 {
            return self.problem(format!("tensor `{name}`: expected F32 {shape:?}, found {:?} {:?}", view.dtype(), view.shape()));
        }
        let values: Vec<f32> = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => self.problem(format!("tensor `{name}`: expected finite values, found {value}")),
            None => Ok(values),
        }
    }
}
