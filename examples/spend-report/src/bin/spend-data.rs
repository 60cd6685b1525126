//! Writes a file of usage records to try the example on: `spend-data --rows 3000 --seed 7 > usage.csv`.

use std::io::Write as _;

use clap::{Parser, ValueEnum};
use spend_report::{Format, Shape, generate};

/// Writes realistic records of model usage to standard output. The same arguments give the same file.
#[derive(Parser)]
#[command(name = "spend-data")]
struct Arguments {
    /// Rows without the header, malformed ones included.
    #[arg(long, default_value_t = 3_000)]
    rows: usize,
    /// Another seed, another file.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The teams; habits are dealt to them in turn. [default: six teams]
    #[arg(long, value_delimiter = ',')]
    teams: Vec<String>,
    /// How many rows cannot be read.
    #[arg(long, default_value_t = 0)]
    malformed: usize,
    /// How many days the calls are spread over.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3_650))]
    days: u16,
    /// How the records are written down.
    #[arg(long, value_enum, default_value_t = Written::Csv)]
    format: Written,
}

#[derive(Clone, Copy, ValueEnum)]
enum Written {
    Csv,
    Jsonl,
}

fn main() -> std::io::Result<()> {
    let Arguments { rows, seed, teams, malformed, days, format } = Arguments::parse();
    let format = match format {
        Written::Csv => Format::Csv,
        Written::Jsonl => Format::Jsonl,
    };
    let file = generate(seed, rows, &Shape { teams, malformed, days, format });
    std::io::stdout().lock().write_all(file.as_bytes())
}
