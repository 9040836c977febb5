//! Tables for people.

use crate::score::Rows;
use comfy_table::{CellAlignment, Table, presets};

/// Scores as a table, with the skill against the last row.
pub fn scores(rows: &Rows) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["", "MSE", "MAE", "MASE", "WQL", "cover 80%", "skill"]);
    let floor = rows.last().map_or(f64::NAN, |(_, scores)| scores.mse);
    for (name, scores) in rows {
        let figures = [scores.mse, scores.mae, scores.mase, scores.wql].map(|value| format!("{value:.4}"));
        let [mse, mae, mase, wql] = figures;
        let cover = scores.coverage_80.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share));
        table.add_row([name.clone(), mse, mae, mase, wql, cover, format!("{:+.1}%", 100.0 * (1.0 - scores.mse / floor))]);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// Seconds as minutes and seconds.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.0} s") } else { format!("{}:{:02} min", seconds as u64 / 60, seconds as u64 % 60) }
}
