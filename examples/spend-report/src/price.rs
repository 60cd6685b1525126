//! What models cost. The built-in table belongs to the invented models of the generated data; the input of a run may
//! bring prices of real ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The price of one model, in USD for a million tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Price {
    /// The model, as the records name it.
    pub model: String,
    /// Tokens of a prompt.
    pub input: f64,
    /// Tokens of a prompt that the provider had cached.
    pub cached_input: f64,
    /// Tokens of an answer.
    pub output: f64,
    /// A cheaper model that is good enough for short answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smaller: Option<String>,
}

impl Price {
    /// What one call costs, in USD.
    pub fn cost(&self, input_tokens: i64, cached_tokens: i64, output_tokens: i64) -> f64 {
        let per_million = |tokens: i64, price: f64| f64::from(u32::try_from(tokens).unwrap_or(u32::MAX)) * price / 1e6;
        per_million(input_tokens - cached_tokens, self.input)
            + per_million(cached_tokens, self.cached_input)
            + per_million(output_tokens, self.output)
    }
}

/// The built-in table: the models that [`generate`](crate::generate()) knows.
pub fn built_in() -> Vec<Price> {
    let price = |model: &str, input, cached_input, output, smaller: Option<&str>| Price {
        model: model.to_owned(),
        input,
        cached_input,
        output,
        smaller: smaller.map(str::to_owned),
    };
    vec![
        price("aurora-large", 5.0, 0.5, 25.0, Some("aurora-small")),
        price("aurora-small", 0.8, 0.08, 4.0, None),
        price("basalt-pro", 2.5, 0.25, 10.0, Some("basalt-mini")),
        price("basalt-mini", 0.15, 0.015, 0.6, None),
        price("cedar-reason", 12.0, 3.0, 48.0, Some("aurora-large")),
    ]
}

/// A table with some prices replaced or added.
pub fn merged(mut table: Vec<Price>, own: Vec<Price>) -> Vec<Price> {
    for price in own {
        table.retain(|known| known.model != price.model);
        table.push(price);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_are_a_part_of_the_input() {
        let table = built_in();
        let pro = table.iter().find(|price| price.model == "basalt-pro").expect("listed");
        assert!((pro.cost(1_000_000, 400_000, 100_000) - (1.5 + 0.1 + 1.0)).abs() < 1e-9);
    }

    #[test]
    fn a_smaller_model_is_listed_and_cheaper() {
        let table = built_in();
        for price in table.iter().filter(|price| price.smaller.is_some()) {
            let smaller = table.iter().find(|other| Some(&other.model) == price.smaller.as_ref()).expect("listed");
            assert!(smaller.input < price.input && smaller.output < price.output);
        }
    }

    #[test]
    fn own_prices_come_before_the_built_in_ones() {
        let own = Price { input: 1.0, ..built_in().remove(0) };
        let table = merged(built_in(), vec![own.clone()]);
        assert_eq!(table.len(), built_in().len());
        assert!(table.contains(&own));
    }
}
