//! What was stored before the first flip, and how what is served differs from it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::api::{Api, description_of};
use crate::content::Content;
use crate::random::Random;

const GROUP: usize = 16 * 1024;
const CHUNK: usize = 63 * GROUP;
const GROUPS: usize = 4;

/// Rows as an unbroken node serves them, and the contents of those that have one.
#[derive(Debug)]
pub(super) struct Truth {
    rows: BTreeMap<String, Value>,
    contents: BTreeMap<String, Content>,
}

/// How an answer differs. Withheld is allowed for what is damaged; wrong is never allowed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) wrong: Vec<String>,
    /// Lists that were answered with an error, of one that shows all and one a group.
    pub(super) lists_refused: u64,
    pub(super) rows_withheld: BTreeSet<String>,
    pub(super) objects_withheld: BTreeSet<String>,
}

impl Truth {
    /// Fills an empty node with small, middle and large contents, external assets, and some deleted ones.
    pub(super) fn store(api: &mut Api, random: &mut Random) -> Result<Self> {
        let mut truth = Self { rows: BTreeMap::new(), contents: BTreeMap::new() };
        for (number, size) in sizes(random).into_iter().enumerate() {
            let content = Content { seed: random.number(), size };
            let description = description(number);
            let answer = api.upload(&description, &content.bytes())?;
            ensure!(answer.status == 201, "upload: {} {}", answer.status, answer.text());
            truth.contents.insert(content.id(), content);
        }
        for number in 100..120 {
            let answer = api.create(&description(number))?;
            ensure!(answer.status == 201, "create: {} {}", answer.status, answer.text());
        }
        for number in [3, 20, 101] {
            let uri = format!("asset-{number}:1-t");
            let row = api.find(&uri)?.json()?;
            truth.contents.remove(row["data"]["asset_id"].as_str().unwrap_or_default());
            let answer = api.delete(&uri)?;
            ensure!(answer.status == 200, "delete: {} {}", answer.status, answer.text());
        }
        for row in api.query_all(&json!({}))? {
            truth.rows.insert(row["asset_uri"].as_str().unwrap_or_default().to_owned(), row);
        }
        ensure!(truth.rows.len() == 20 + truth.contents.len() - 1, "some rows are missing");
        Ok(truth)
    }

    /// Asks for everything in every way.
    pub(super) fn compare(&self, api: &mut Api) -> Served {
        let mut served = Served::default();
        self.compare_lists(api, &mut served);
        for (uri, row) in &self.rows {
            match api.find(uri) {
                Ok(answer) if answer.status == 200 => {
                    let data = answer.json().map(|mut body| body["data"].take());
                    // A list may leave out what `GET` adds, never the other way round.
                    let same = data.as_ref().is_ok_and(|data| contains(data, row));
                    if !same {
                        served.wrong.push(format!("GET {uri} is {data:?}"));
                    }
                }
                _ => {
                    served.rows_withheld.insert(uri.clone());
                }
            }
        }
        for (id, content) in &self.contents {
            match api.object(id) {
                Ok(answer) if answer.status == 200 => {
                    if answer.body != content.bytes() {
                        served.wrong.push(format!("wrong bytes of {content:?}"));
                    }
                }
                // A cut connection is the honest end of a stream that met damage.
                _ => {
                    served.objects_withheld.insert(id.clone());
                }
            }
        }
        served
    }

    /// The list of all, and one list a group, which an index serves.
    fn compare_lists(&self, api: &mut Api, served: &mut Served) {
        let all: BTreeSet<&String> = self.rows.keys().collect();
        self.compare_list(api, &json!({}), &all, served);
        for group in 0..GROUPS {
            let member = |row: &Value| row["asset_metadata"]["group"] == json!(group);
            let expected = self.rows.iter().filter(|(_, row)| member(row)).map(|(uri, _)| uri);
            let filter = json!({"asset_metadata.group": group});
            self.compare_list(api, &filter, &expected.collect(), served);
        }
    }

    fn compare_list(&self, api: &mut Api, filter: &Value, expected: &BTreeSet<&String>, served: &mut Served) {
        let Ok(rows) = api.query_all(filter) else {
            served.lists_refused += 1;
            return;
        };
        let mut listed = BTreeSet::new();
        for row in rows {
            let uri = row["asset_uri"].as_str().unwrap_or_default().to_owned();
            if self.rows.get(&uri) != Some(&row) || !expected.contains(&uri) {
                served.wrong.push(format!("{filter} lists {row}"));
            }
            if !listed.insert(uri.clone()) {
                served.wrong.push(format!("{filter} lists {uri} twice"));
            }
        }
        let missing = expected.iter().filter(|uri| !listed.contains(**uri));
        served.rows_withheld.extend(missing.map(|uri| (*uri).clone()));
    }
}

fn contains(whole: &Value, part: &Value) -> bool {
    part.as_object().is_some_and(|members| members.iter().all(|(name, value)| whole[name] == *value))
}

fn description(number: usize) -> Value {
    let metadata = json!({
        "group": number % GROUPS,
        "number": number,
        "note": format!("a sentence of asset {number} that is long enough to be hit"),
    });
    description_of(&format!("asset-{number}"), &metadata)
}

fn sizes(random: &mut Random) -> Vec<usize> {
    let mut sizes: Vec<usize> = (0..24).map(|_| 1 + random.below(12 * 1024)).collect();
    sizes.extend([GROUP, GROUP + 1, 5 * GROUP + 7, 20 * GROUP]);
    sizes.extend([CHUNK, CHUNK + 1, 2 * CHUNK + 3 * GROUP + 5]);
    sizes
}
