//! `spend-data`: puts the records and the prices into the owner's own database.

use std::{collections::BTreeSet, time::Duration};

use insula_agent::{Agent, Cache, Effect, Error, Result, Session};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Input, InputFile, give, read};
use crate::{
    Price, Record, parse, price,
    tables::{self, Load},
};

/// The owner's own key of the price table. The number changes with the table's form.
const CACHED: &str = "spend-report/prices/1";
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Loaded {
    /// The name of the load, which the analyses ask for.
    pub load: String,
    /// How many records.
    pub rows: u64,
    /// Where the price table came from.
    pub prices: PriceSource,
    /// Models without a price: nothing is said about what they could save.
    pub models_without_price: Vec<String>,
    /// What went less well than it should.
    pub warnings: Vec<String>,
}

/// Where the price table came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceSource {
    /// From the cache.
    Cache,
    /// From the built-in table, which was then put into the cache.
    BuiltIn,
    /// From the built-in table, because the cache is not to be had.
    BuiltInWithoutCache,
}

/// What `spend-data` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataInput {
    /// What to call the load; the run's own id when it is absent. A load of the same name is replaced.
    #[serde(default)]
    pub load: Option<String>,
    /// A title for people.
    #[serde(default)]
    pub title: String,
    /// The file.
    pub file: Input,
}

#[derive(Serialize, Deserialize)]
struct Prices {
    table: Vec<Price>,
    source: PriceSource,
    warnings: Vec<String>,
}

pub(crate) struct DataAgent;

#[async_trait::async_trait]
impl Agent for DataAgent {
    async fn run(&mut self, session: &mut Session, input: Value) -> Result<Value> {
        let DataInput { load, title, file } = read("the input", input)?;
        let file = InputFile::from(file);
        let records = parse(&file.text).map_err(Error::failed)?.records;
        let Prices { table, source, warnings } = session.step("prices", Effect::Pure, || prices(session)).await?;
        warnings.iter().for_each(|warning| session.think(warning));
        let table = price::merged(table, file.prices);
        let models_without_price = without_price(&records, &table);
        if !models_without_price.is_empty() {
            session.think(format!("No price is known for: {}.", models_without_price.join(", ")));
        }
        let load = load.unwrap_or_else(|| session.context().run().as_str().to_owned());
        let rows = store(session, &load, &title, &records, &table).await?;
        session.think(format!("{rows} records are in your own database."));
        give("what was loaded", &Loaded { load, rows, prices: source, models_without_price, warnings })
    }
}

/// Loads in a step, so that a run that is resumed after it does not load again; were it to, the load replaces itself.
async fn store(session: &Session, load: &str, title: &str, records: &[Record], prices: &[Price]) -> Result<u64> {
    let at = session.now().await?.as_micros();
    session.think(format!("Loading {} records in one transaction.", records.len()));
    session
        .step("load", Effect::Idempotent, || async {
            let database = session.database()?;
            tables::store(&*database, &Load { id: load, title, at, records, prices }).await
        })
        .await
}

/// The price table from the cache, or the built-in one. A cache that is down costs a warning and nothing else.
async fn prices(session: &Session) -> Result<Prices> {
    let degraded = |error: &Error| {
        let warning = format!("Going on without the cache for prices: {error}.");
        Prices { table: price::built_in(), source: PriceSource::BuiltInWithoutCache, warnings: vec![warning] }
    };
    let found = match session.cache() {
        Ok(cache) => cached_prices(&*cache).await,
        Err(error) => Err(error),
    };
    Ok(found.unwrap_or_else(|error| degraded(&error)))
}

async fn cached_prices(cache: &dyn Cache) -> Result<Prices> {
    let bytes = cache.get(CACHED).await?;
    // What cannot be read is as good as absent: it is written anew.
    if let Some(table) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(Prices { table, source: PriceSource::Cache, warnings: Vec::new() });
    }
    let table = price::built_in();
    cache.set(CACHED, give("the price table", &table)?.to_string().into_bytes(), Some(KEPT_FOR)).await?;
    Ok(Prices { table, source: PriceSource::BuiltIn, warnings: Vec::new() })
}

fn without_price(records: &[Record], table: &[Price]) -> Vec<String> {
    let models: BTreeSet<_> = records.iter().map(|record| record.model.as_str()).collect();
    let unknown = models.into_iter().filter(|model| !table.iter().any(|price| price.model == *model));
    unknown.map(str::to_owned).collect()
}
