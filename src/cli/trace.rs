//! `revbridge trace`: one call's messages, from a running server.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::Access;
use super::client::Client;

#[derive(Debug, Args)]
pub struct TraceArguments {
    organization: String,
    call: String,
    /// Write a capture for Wireshark to this file instead of the ladder to the terminal.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pcap: Option<PathBuf>,
}

pub fn run(access: &Access, arguments: &TraceArguments) -> anyhow::Result<ExitCode> {
    let TraceArguments { organization, call, pcap } = arguments;
    let format = match (pcap, access.json) {
        (Some(_), _) => "pcap",
        (None, true) => "json",
        (None, false) => "ladder",
    };
    let path = format!("/v1/admin/organizations/{organization}/calls/{call}/trace?format={format}");
    let answer = Client::new(access).and_then(|client| client.fetch(&path));
    let bytes = match answer {
        Ok(bytes) => bytes,
        Err(failure) => {
            eprintln!("revbridge: {failure}");
            return Ok(ExitCode::from(failure.code()));
        }
    };
    match pcap {
        Some(file) => {
            std::fs::write(file, &bytes).with_context(|| format!("{} cannot be written", file.display()))?;
        }
        None => std::io::stdout().write_all(&bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}
