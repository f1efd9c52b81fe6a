//! The documents of the measurements: a million model cards of about 426 bytes, the same for every
//! system that is measured. Pure: the number of a document says all of it.

use serde_json::{Value, json};

/// How many documents share one `asset_metadata.batch`: what the indexed query returns.
const BATCH: u64 = 100;

pub(crate) const TASKS: [&str; 5] =
    ["image-classification", "text-generation", "translation", "speech", "detection"];
const FRAMEWORKS: [&str; 4] = ["pytorch", "tensorflow", "jax", "onnx"];
pub(crate) const LICENSES: [&str; 4] = ["apache-2.0", "mit", "proprietary", "cc-by-4.0"];

/// The external asset number `number`.
#[must_use]
pub fn document(number: u64) -> Value {
    // Scattered, so that neighbours differ as the rows of a real catalog do.
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let of = |words: &[&str], shift: u64| {
        let index = (mixed >> shift) % words.len() as u64;
        words[usize::try_from(index).expect("below a length")].to_owned()
    };
    let (task, framework) = (of(&TASKS, 1), of(&FRAMEWORKS, 7));
    json!({
        "asset_name": format!("model-{number:07}"),
        "asset_version": {"version": format!("{}.{}", mixed % 9, number % 20), "tag": "stable"},
        "asset_metadata": {
            "batch": format!("batch-{:05}", number / BATCH),
            "author": format!("author-{:04}", mixed % 5000),
            "license": of(&LICENSES, 13),
            "framework": framework,
            "task": task,
            "params": mixed % 70_000_000_000,
            "accuracy": f64::from(u32::try_from(mixed % 10_000).expect("below 10 000")) / 10_000.0,
            "created_at": format!("2025-{:02}-{:02}T10:00:00Z", mixed % 12 + 1, mixed % 28 + 1),
        },
        "asset_public_url": format!("https://models.example.net/{number:07}.safetensors"),
        "asset_tags": ["model", framework, task],
    })
}

/// The filter that finds exactly 100 documents, another hundred for each round.
#[must_use]
pub fn batch_filter(round: u64, documents: u64) -> Value {
    let batches = (documents / BATCH).max(1);
    // A step that shares no divisor with a round count of batches visits them all.
    let batch = round.wrapping_mul(7919) % batches;
    json!({"asset_metadata.batch": format!("batch-{batch:05}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_the_size_of_real_ones_and_repeat() {
        let total: usize = (0..1000).map(|number| document(number).to_string().len()).sum();
        assert!((380..470).contains(&(total / 1000)), "{} bytes on average", total / 1000);
        assert_eq!(document(5), document(5));
        assert_ne!(document(5)["asset_name"], document(6)["asset_name"]);
    }

    #[test]
    fn a_batch_has_a_hundred_documents() {
        for round in 0..5 {
            let filter = batch_filter(round, 1000);
            let wanted = &filter["asset_metadata.batch"];
            let members = (0..1000).filter(|number| document(*number)["asset_metadata"]["batch"] == *wanted);
            assert_eq!(members.count(), 100);
        }
    }
}
