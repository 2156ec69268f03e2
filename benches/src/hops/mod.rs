//! The figures owed of remote hops: real gateways and workers on loopback, and what they do while workers fail.
//!
//! Each file measures one thing and gives [`Row`]s. A figure that is missed is a row that says so; only a run that could not be
//! made is an error.

pub mod calls;
pub mod chain;
pub mod faulty;
pub mod kills;
pub mod newcomer;
pub mod shares;

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::Server;
use crate::{Failure, net};

/// The format of all sound here.
const PCM: &str = "pcm_s16/16000/1";

/// A line of the table: what is owed, and what was measured.
#[derive(Clone, Debug)]
pub struct Row {
    /// The figure's name in the requirements.
    pub id: &'static str,
    /// What is measured.
    pub what: String,
    /// What is owed.
    pub owed: &'static str,
    /// What came out.
    pub measured: String,
    /// Whether that is enough.
    pub met: bool,
}

/// What one measurement gives: its lines, and a table of its own if there is more to say.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// For the table of all figures.
    pub rows: Vec<Row>,
    /// Markdown.
    pub details: String,
}

/// The rows as Markdown.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = "| | what | owed | measured | |\n|---|---|---|---|---|\n".to_owned();
    for row in rows {
        let met = if row.met { "met" } else { "**missed**" };
        let Row {
            id,
            what,
            owed,
            measured,
            ..
        } = row;
        text += &format!("| {id} | {what} | {owed} | {measured} | {met} |\n");
    }
    text
}

/// Writes manifests into a folder of their own, each named as it calls itself.
///
/// # Errors
/// If it cannot be written.
fn folder(manifests: &[Value]) -> Result<TempDir, Failure> {
    let folder = tempfile::tempdir()?;
    for manifest in manifests {
        let name = manifest["name"].as_str().ok_or("a manifest has a name")?;
        // JSON is YAML.
        std::fs::write(
            folder.path().join(format!("{name}.yaml")),
            manifest.to_string(),
        )?;
    }
    Ok(folder)
}

/// A pipeline that gives back what it gets.
fn identity(kind: &str) -> Value {
    json!({
        "version": "tidegate/v1",
        "name": "identity",
        "inputs": [port("mic", kind)],
        "outputs": [port("speaker", kind)],
        "nodes": [{"id": "pass", "type": "identity"}],
        "edges": ["mic -> pass -> speaker"],
    })
}

/// A pipeline whose one node is the remote hop `far` with these parameters.
fn remote(kind: &str, mut params: Value) -> Value {
    params["inputs"] = json!([port("mic", kind)]);
    params["outputs"] = json!([port("speaker", kind)]);
    // Speech that cannot wait may wait two seconds before a hop that has just broken.
    let queue = json!({"frames": 256, "age": "2s", "when_full": "drop_oldest"});
    json!({
        "version": "tidegate/v1",
        "name": "remote",
        "inputs": [{"name": "mic", "kind": kind}],
        "outputs": [{"name": "speaker", "kind": kind}],
        "nodes": [{"id": "far", "type": "remote", "params": params}],
        "edges": [{"from": "mic", "to": "far", "queue": queue}, "far -> speaker"],
    })
}

fn port(name: &str, kind: &str) -> Value {
    let mut port = json!({"name": name, "kind": kind});
    if kind == "audio" {
        port["format"] = PCM.into();
    }
    port
}

/// Three workers that serve the pipelines of this folder.
async fn workers(folder: &Path) -> Result<[Server; 3], Failure> {
    Ok([
        Server::tidegate(folder).await?,
        Server::tidegate(folder).await?,
        Server::tidegate(folder).await?,
    ])
}

/// A metric of a gateway, summed over all lines that have these labels.
async fn metric(server: &Server, name: &str, labels: &[&str]) -> Result<f64, Failure> {
    let text = net::get(server.address, "/metrics").await?;
    let lines = text.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum())
}
