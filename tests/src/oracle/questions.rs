//! What a union is asked: the recorded cases moved down to `asset_metadata`, and questions made up about model cards.

use serde_json::{Value, json};

use crate::conformance::cases::{Case, collections};
use crate::conformance::prefix;
use crate::load::documents::{LICENSES, TASKS, document};
use crate::random::Random;

/// A filter and an order, as they are sent.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The filter, in JSON.
    pub(crate) filter: String,
    /// The sort, as `-a.b,c` or in JSON.
    pub(crate) sort: Option<String>,
}

/// Assets to be asked for: three of four are model cards, the fourth holds a document of the recorded cases.
#[derive(Debug)]
pub(crate) struct Assets {
    recorded: Vec<Value>,
}

impl Assets {
    /// Of these recorded documents.
    #[must_use]
    pub(crate) fn new() -> Self {
        let documents = collections().into_iter().flat_map(|collection| collection.documents);
        Self { recorded: documents.collect() }
    }

    /// The asset with this number.
    #[must_use]
    pub(crate) fn asset(&self, number: usize) -> Value {
        if !number.is_multiple_of(4) {
            return document(number as u64);
        }
        let metadata = &self.recorded[number / 4 % self.recorded.len()];
        json!({"asset_name": format!("recorded-{number:07}"), "asset_metadata": metadata})
    }
}

impl Default for Assets {
    fn default() -> Self {
        Self::new()
    }
}

fn plain_cases() -> impl Iterator<Item = Case> {
    let cases = collections().into_iter().flat_map(|collection| collection.cases);
    cases.filter(|case| case.skip.is_none() && case.projection.is_none())
}

/// All recorded cases that have an answer.
#[must_use]
pub(crate) fn recorded() -> Vec<Question> {
    let cases = plain_cases().filter(|case| case.expect.is_some()).filter_map(|case| {
        let filter = serde_json::from_str(&case.filter).ok()?;
        let sort = case.sort.as_ref().map(|sort| prefix::sort(sort).to_string());
        Some(Question { filter: prefix::filter(&filter).to_string(), sort })
    });
    cases.collect()
}

/// All recorded cases that must be refused whatever they are asked of.
#[must_use]
pub(crate) fn refused() -> Vec<Question> {
    let cases = plain_cases().filter(|case| case.expect.is_none() && case.sort.is_none());
    cases.map(|case| Question { filter: case.filter, sort: None }).collect()
}

/// A question about model cards, of which there are `count`.
#[must_use]
pub(crate) fn generated(random: &mut Random, count: usize) -> Question {
    const ORDERS: [&str; 8] = [
        "asset_name",
        "-asset_metadata.params",
        "asset_metadata.task,-asset_metadata.accuracy",
        "-asset_version.version,asset_name",
        "asset_metadata.license",
        "{\"asset_metadata.created_at\":-1,\"asset_metadata.batch\":1}",
        "assets_db_id,-asset_metadata.accuracy",
        "-asset_tags",
    ];
    let filter = match random.below(4) {
        0 => condition(random, count),
        1 => json!({"$and": [condition(random, count), condition(random, count)]}),
        2 => json!({"$or": [condition(random, count), condition(random, count)]}),
        _ => json!({"$nor": [condition(random, count)], "asset_tags": "model"}),
    };
    let sort = random.chance(60).then(|| (*random.pick(&ORDERS)).to_owned());
    Question { filter: filter.to_string(), sort }
}

fn condition(random: &mut Random, count: usize) -> Value {
    let batch = random.below(count.div_ceil(100));
    let params = random.within(0..70_000_000_000);
    let task = *random.pick(&TASKS);
    match random.below(9) {
        0 => json!({"asset_metadata.batch": format!("batch-{batch:05}")}),
        1 => json!({"asset_metadata.params": {"$gte": params, "$lt": params + 7_000_000_000}}),
        2 => json!({"asset_tags": {"$all": ["model", task]}}),
        3 => json!({"asset_metadata.license": {"$in": [*random.pick(&LICENSES), "none"]}}),
        4 => {
            json!({"asset_metadata.author": {"$regex": format!("^author-{}", random.within(0..500))}})
        }
        5 => json!({"asset_metadata.accuracy": {"$not": {"$gt": 0.001}}, "asset_metadata.task": task}),
        6 => json!({"$expr": {"$gt": ["$asset_metadata.accuracy", 0.97]}}),
        7 => json!({"asset_uri": {"$exists": true, "$ne": ""}, "asset_metadata.task": {"$ne": task}}),
        _ => json!({"asset_name": {"$gte": format!("model-{:07}", random.below(count))}}),
    }
}
