//! placeholder
use super::{Group, Measured, Options};
use crate::Failure;
pub const GROUP: Group = Group { figures: &[], measure: moe };
fn moe(_: &Options) -> Result<Measured, Failure> {
    Ok(Measured::new())
}
