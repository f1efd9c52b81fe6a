//! `assetmesh filter`: the filter language on documents from standard input, without a node.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use assetmesh_protocol::document::Document;
use assetmesh_protocol::filter::{Filter, Projection, Sort, SortKey};

use crate::args::FilterArgs;
use crate::edits::text_argument;
use crate::exit::Fault;
use crate::output::stdout;

/// How much of the input is read at once, and of the output written.
const PIECE_BYTES: usize = 256 * 1024;

/// Prints the matching documents of standard input, one a line.
pub(crate) fn run(args: &FilterArgs) -> anyhow::Result<()> {
    Job::of(args)?.run(io::stdin().lock(), io::stdout().lock())
}

/// A checked command line: nothing is read before all of it is known to be good.
struct Job {
    filter: Filter,
    sort: Option<Sort>,
    projection: Option<Projection>,
    skip: u64,
    limit: u64,
}

impl Job {
    fn of(args: &FilterArgs) -> Result<Self, Fault> {
        let filter = text_argument(&args.filter, "filter")?;
        let filter =
            Filter::parse_json(filter.as_bytes()).map_err(|error| Fault::usage(format!("{error}")))?;
        let sort = args.sort.as_deref().map(Sort::parse).transpose();
        let sort = sort.map_err(|error| Fault::usage(format!("--sort: {error}")))?;
        let projection = args.project.as_deref().map(projection).transpose()?;
        let limit = if args.limit == 0 { u64::MAX } else { args.limit };
        Ok(Self { filter, sort, projection, skip: args.skip, limit })
    }

    fn run(&self, input: impl Read, output: impl Write) -> anyhow::Result<()> {
        let mut lines = Lines::of(input);
        let mut out = BufWriter::with_capacity(PIECE_BYTES, output);
        match &self.sort {
            Some(sort) => self.run_sorted(sort, &mut lines, &mut out)?,
            None => self.run_streaming(&mut lines, &mut out)?,
        }
        stdout(out.flush())
    }

    /// Holds one document at a time, and stops reading once the limit is reached.
    fn run_streaming(&self, lines: &mut Lines<impl Read>, out: &mut impl Write) -> anyhow::Result<()> {
        let (mut to_skip, mut left) = (self.skip, self.limit);
        while left > 0 {
            if lines.must_wait() {
                // Whoever follows a slow input sees each match at once.
                stdout(out.flush())?;
            }
            let Some(document) = lines.next()? else { break };
            if !self.matches(&document, lines.number)? {
                continue;
            }
            if to_skip > 0 {
                to_skip -= 1;
                continue;
            }
            self.print(&document, out)?;
            left -= 1;
        }
        Ok(())
    }

    /// Holds all matching documents. Equal keys stay in the order in which they came.
    fn run_sorted(
        &self,
        sort: &Sort,
        lines: &mut Lines<impl Read>,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let mut found: Vec<(SortKey, Document)> = Vec::new();
        while let Some(document) = lines.next()? {
            if self.matches(&document, lines.number)? {
                let key = sort.key(document.root()).map_err(|error| at_line(lines.number, &error))?;
                found.push((key, document));
            }
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX);
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        found.iter().skip(skip).take(limit).try_for_each(|(_, document)| self.print(document, out))
    }

    fn matches(&self, document: &Document, line: u64) -> Result<bool, Fault> {
        self.filter.matches(document.root()).map_err(|error| at_line(line, &error))
    }

    fn print(&self, document: &Document, out: &mut impl Write) -> anyhow::Result<()> {
        let mut text = Vec::new();
        match &self.projection {
            Some(projection) => {
                let projected = projection.apply(document.root());
                let projected = projected.map_err(|error| Fault::usage(format!("--project: {error}")))?;
                projected.root().write_json(&mut text);
            }
            None => document.root().write_json(&mut text),
        }
        text.push(b'\n');
        stdout(out.write_all(&text))
    }
}

fn projection(argument: &str) -> Result<Projection, Fault> {
    let text = text_argument(argument, "projection")?;
    let unfit = |why: String| Fault::usage(format!("--project: {why}"));
    let value = serde_json::from_str(&text).map_err(|error| unfit(format!("not valid JSON: {error}")))?;
    Projection::parse(&value).map_err(|error| unfit(error.to_string()))
}

fn at_line(line: u64, error: &impl std::fmt::Display) -> Fault {
    Fault::usage(format!("document in line {line}: {error}"))
}

/// The documents of the input, one a line; empty lines are passed over.
struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<R> {
    fn of(input: R) -> Self {
        Self { reader: BufReader::with_capacity(PIECE_BYTES, input), line: Vec::new(), number: 0 }
    }

    /// Whether the next line is not here yet as a whole.
    fn must_wait(&self) -> bool {
        !self.reader.buffer().contains(&b'\n')
    }

    fn next(&mut self) -> Result<Option<Document>, Fault> {
        loop {
            self.line.clear();
            let read = self.reader.read_until(b'\n', &mut self.line);
            let read = read.map_err(|error| Fault::usage(format!("cannot read standard input: {error}")))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if !self.line.trim_ascii().is_empty() {
                let document = Document::from_json(self.line.trim_ascii_end());
                return document.map(Some).map_err(|error| self.bad_line(&error));
            }
        }
    }

    fn bad_line(&self, error: &impl std::fmt::Display) -> Fault {
        // The reader of one document counts its own lines: here each is line 1.
        let error = error.to_string();
        let error = error.strip_prefix("line 1 ").unwrap_or(&error);
        Fault::usage(format!("line {} of the input is not a JSON document: {error}", self.number))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::exit::{Exit, code_of};

    const INPUT: &str = "{\"n\":2,\"a\":{\"z\":1,\"b\":2.0}}\n\n{\"n\":1}\n{ \"n\" : 3 , \"a\" : [ ] }\n";

    fn filtered(filter: &str, change: impl FnOnce(&mut FilterArgs), input: &str) -> anyhow::Result<String> {
        let mut args = FilterArgs { filter: filter.to_owned(), sort: None, skip: 0, limit: 0, project: None };
        change(&mut args);
        let mut out = Vec::new();
        Job::of(&args)?.run(input.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn matching_documents_come_compactly_in_order_with_their_keys_as_they_were() {
        let out = filtered(r#"{"n":{"$gt":1}}"#, |_| {}, INPUT).unwrap();
        assert_eq!(out, "{\"n\":2,\"a\":{\"z\":1,\"b\":2.0}}\n{\"n\":3,\"a\":[]}\n");
    }

    #[rstest]
    #[case("-n", 0, 0, "3 2 1")]
    #[case("n", 1, 0, "2 3")]
    #[case("n", 1, 1, "2")]
    #[case(r#"{"n":-1}"#, 0, 2, "3 2")]
    #[case("n", 9, 0, "")]
    fn sort_skip_and_limit_come_in_this_order(
        #[case] sort: &str,
        #[case] skip: u64,
        #[case] limit: u64,
        #[case] expected: &str,
    ) {
        let change = |args: &mut FilterArgs| {
            (args.sort, args.skip, args.limit) = (Some(sort.to_owned()), skip, limit);
            args.project = Some(r#"{"n":1}"#.to_owned());
        };
        let out = filtered("{}", change, INPUT).unwrap();
        let expected: String = expected.split_whitespace().map(|n| format!("{{\"n\":{n}}}\n")).collect();
        assert_eq!(out, expected);
    }

    #[rstest]
    #[case("k")]
    #[case("-k")]
    fn equal_keys_stay_in_the_order_in_which_they_came(#[case] sort: &str) {
        let input = "{\"k\":1,\"n\":1}\n{\"k\":1.0,\"n\":2}\n{\"k\":1,\"n\":3}\n";
        assert_eq!(filtered("{}", |args| args.sort = Some(sort.to_owned()), input).unwrap(), input);
    }

    #[test]
    fn without_a_sort_the_input_is_read_no_further_than_needed() {
        let out = filtered("{}", |args| args.limit = 1, "{\"n\":1}\nnot json\n").unwrap();
        assert_eq!(out, "{\"n\":1}\n");
        let out = filtered("{}", |args| (args.skip, args.limit) = (1, 1), INPUT).unwrap();
        assert_eq!(out, "{\"n\":1}\n");
    }

    #[rstest]
    #[case(r#"{"a":{"$nope":1}}"#, "", "$nope")]
    #[case("{", "", "line 1 column 2")]
    #[case("{}", "{\"n\":1}\n{\"n\":}\n", "line 2")]
    #[case(r#"{"$expr":{"$gt":[{"$add":["$s",1]},1]}}"#, "{\"s\":\"x\"}\n", "line 1")]
    fn what_is_wrong_is_named(#[case] filter: &str, #[case] input: &str, #[case] named: &str) {
        let error = filtered(filter, |_| {}, input).unwrap_err();
        assert_eq!(code_of(&error), Some(Exit::Usage));
        assert!(error.to_string().contains(named), "{error}");
    }

    #[rstest]
    #[case(Some("$a"), None, "--sort")]
    #[case(None, Some(r#"{"a":1,"b":0}"#), "--project")]
    #[case(None, Some("{"), "--project")]
    fn a_bad_option_is_named_before_anything_is_read(
        #[case] sort: Option<&str>,
        #[case] project: Option<&str>,
        #[case] named: &str,
    ) {
        let change = |args: &mut FilterArgs| {
            (args.sort, args.project) = (sort.map(str::to_owned), project.map(str::to_owned));
        };
        let error = filtered("{}", change, "not json").unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}
