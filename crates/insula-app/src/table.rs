//! Tables: aligned columns without lines, which read well on a terminal and in a pipe.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

use crate::{
    output::{Output, Palette},
    words,
};

/// Rows under a header. On a terminal a wide cell is wrapped to the width; in a pipe every row is one line.
pub(crate) struct Columns {
    table: Table,
    /// On a terminal, how many columns it has.
    width: Option<usize>,
    paint: Palette,
}

impl Columns {
    /// Columns for standard output. A heading that ends in `>` is set to the right; one that ends in `~` gives way where
    /// the terminal is narrow, and no other does.
    pub(crate) fn new(output: &Output, headings: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(headings.iter().map(|heading| heading.trim_end_matches(['>', '~']).to_uppercase()));
        let arrangement =
            if output.results_on_terminal { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
        table.set_content_arrangement(arrangement);
        for (column, heading) in table.column_iter_mut().zip(headings) {
            // Two blanks between columns, and none before the first.
            column.set_padding((0, 2));
            if heading.ends_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
            if !heading.ends_with('~') {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        Self { table, width: output.result_width(), paint: output.results }
    }

    /// Adds a row. Whatever could move the cursor is left out of it.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.table.add_row(cells.into_iter().map(|cell| words::plain(&cell)));
    }

    /// The lines, the header first. What does not fit on a terminal's line is cut.
    pub(crate) fn lines(&self) -> Vec<String> {
        let cut = |line: String| words::cut(line.trim_end(), self.width.unwrap_or(usize::MAX));
        let mut lines: Vec<String> = self.table.lines().map(cut).collect();
        if let Some(header) = lines.first_mut() {
            *header = self.paint.bold(header);
        }
        lines
    }
}
