//! What a node must hold, from the side of a client: every acknowledged change, and of the one that
//! was on its way when the node died, all or nothing. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::content::Content;

/// One asset as a client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asset {
    pub(crate) name: String,
    pub(crate) owner: u64,
    /// Unique over the whole run: every change makes a new one.
    pub(crate) revision: u64,
    /// None for an external asset.
    pub(crate) content: Option<Content>,
}

impl Asset {
    pub(crate) fn uri(&self) -> String {
        uri_of(&self.name)
    }

    pub(crate) fn description(&self) -> Value {
        json!({
            "asset_name": self.name,
            "asset_version": {"version": "1", "tag": "t"},
            "asset_metadata": {"owner": self.owner, "revision": self.revision},
            "asset_tags": ["fault-run", format!("owner-{}", self.owner)],
        })
    }

    /// What a served row says otherwise, if anything.
    pub(crate) fn difference(&self, row: &Value) -> Option<String> {
        let mut expected = self.description();
        expected["asset_uri"] = json!(self.uri());
        expected["asset_id"] = json!(self.content.map_or_else(String::new, Content::id));
        let members = expected.as_object().expect("made as an object");
        let wrong = members.iter().find(|(name, value)| row[name.as_str()] != **value);
        if let Some((name, value)) = wrong {
            return Some(format!("{name} is {} and not {value}", row[name.as_str()]));
        }
        let size = self.content.map_or(Value::Null, |content| json!(content.size));
        let served = &row["asset_file_info"]["file_size"];
        (*served != size).then(|| format!("file_size is {served} and not {size}"))
    }
}

/// The uri of a name in a fault run.
pub(crate) fn uri_of(name: &str) -> String {
    format!("{name}:1-t")
}

/// One uri before and after a change.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) uri: String,
    pub(crate) before: Option<Asset>,
    pub(crate) after: Option<Asset>,
}

/// What a change does; a rename has two steps that happen together or not at all.
pub(crate) type Change = Vec<Step>;

/// How a change that nobody acknowledged ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing was on its way.
    Idle,
    /// It never happened.
    Undone,
    /// It happened.
    Done,
    /// Part of it happened, or something else did.
    Half(String),
}

/// The assets of one client, which nobody else changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    assets: BTreeMap<String, Asset>,
    pending: Option<Change>,
}

impl Ledger {
    pub(crate) fn get(&self, uri: &str) -> Option<&Asset> {
        self.assets.get(uri)
    }

    pub(crate) fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.assets.values()
    }

    /// A request leaves; from now on the change may be there.
    pub(crate) fn begin(&mut self, change: Change) {
        self.pending = Some(change);
    }

    /// The node acknowledged the change.
    pub(crate) fn acknowledge(&mut self) {
        for step in self.pending.take().unwrap_or_default() {
            match step.after {
                Some(asset) => self.assets.insert(step.uri, asset),
                None => self.assets.remove(&step.uri),
            };
        }
    }

    /// The node refused the change.
    pub(crate) fn refuse(&mut self) {
        self.pending = None;
    }

    /// Decides from what the node serves whether the change on its way happened.
    pub(crate) fn settle(&mut self, rows: &BTreeMap<String, Value>) -> Ending {
        let Some(change) = &self.pending else {
            return Ending::Idle;
        };
        let all = |side: fn(&Step) -> &Option<Asset>| {
            change.iter().find_map(|step| mismatch(side(step).as_ref(), rows.get(&step.uri)))
        };
        let Some(not_before) = all(|step| &step.before) else {
            self.refuse();
            return Ending::Undone;
        };
        let Some(not_after) = all(|step| &step.after) else {
            self.acknowledge();
            return Ending::Done;
        };
        let text = format!("{change:?}: not before, as {not_before}; not after, as {not_after}");
        self.refuse();
        Ending::Half(text)
    }

    /// Every settled asset that is not served as it should be.
    pub(crate) fn losses(&self, rows: &BTreeMap<String, Value>) -> Vec<String> {
        let lost = |(uri, asset): (&String, &Asset)| {
            mismatch(Some(asset), rows.get(uri)).map(|why| format!("{uri}: {why}"))
        };
        self.assets.iter().filter_map(lost).collect()
    }
}

fn mismatch(expected: Option<&Asset>, row: Option<&Value>) -> Option<String> {
    match (expected, row) {
        (None, None) => None,
        (None, Some(row)) => Some(format!("it should not exist, and is {row}")),
        (Some(asset), None) => Some(format!("it is missing, and should be {asset:?}")),
        (Some(asset), Some(row)) => asset.difference(row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(name: &str, revision: u64) -> Asset {
        Asset { name: name.into(), owner: 1, revision, content: Some(Content { seed: 1, size: 9 }) }
    }

    /// A row as a node would serve it.
    fn row(asset: &Asset) -> (String, Value) {
        let mut row = asset.description();
        row["asset_uri"] = json!(asset.uri());
        row["asset_id"] = json!(asset.content.unwrap().id());
        row["asset_file_info"] = json!({"file_size": asset.content.unwrap().size});
        (asset.uri(), row)
    }

    fn rename(from: &Asset, to: &Asset) -> Change {
        let step = |uri, before, after| Step { uri, before, after };
        vec![step(from.uri(), Some(from.clone()), None), step(to.uri(), None, Some(to.clone()))]
    }

    fn holding(asset: &Asset) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.begin(vec![Step { uri: asset.uri(), before: None, after: Some(asset.clone()) }]);
        ledger.acknowledge();
        ledger
    }

    #[test]
    fn an_acknowledged_asset_that_is_gone_or_changed_is_lost() {
        let ledger = holding(&asset("a", 1));
        assert_eq!(ledger.losses(&BTreeMap::from([row(&asset("a", 1))])), Vec::<String>::new());
        assert!(ledger.losses(&BTreeMap::new())[0].contains("missing"));
        let changed = BTreeMap::from([row(&asset("a", 2))]);
        assert!(ledger.losses(&changed)[0].contains("asset_metadata"));
    }

    #[test]
    fn an_unacknowledged_rename_is_all_or_nothing() {
        let (old, new) = (asset("a", 1), asset("b", 2));
        let cases = [(vec![row(&old)], Ending::Undone), (vec![row(&new)], Ending::Done)];
        for (rows, ending) in cases {
            let mut ledger = holding(&old);
            ledger.begin(rename(&old, &new));
            let rows = BTreeMap::from_iter(rows);
            assert_eq!(ledger.settle(&rows), ending);
            assert_eq!(ledger.losses(&rows), Vec::<String>::new());
        }
        for rows in [vec![row(&old), row(&new)], vec![]] {
            let mut ledger = holding(&old);
            ledger.begin(rename(&old, &new));
            assert!(matches!(ledger.settle(&BTreeMap::from_iter(rows)), Ending::Half(_)));
        }
    }

    #[test]
    fn wrong_size_or_id_of_the_bytes_is_a_difference() {
        let asset = asset("a", 1);
        let (_, mut served) = row(&asset);
        assert_eq!(asset.difference(&served), None);
        served["asset_file_info"]["file_size"] = json!(8);
        assert!(asset.difference(&served).unwrap().contains("file_size"));
        served["asset_id"] = json!("0");
        assert!(asset.difference(&served).unwrap().contains("asset_id"));
    }
}
