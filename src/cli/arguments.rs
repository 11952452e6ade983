//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Which server, and by what right.
#[derive(Debug, Args)]
pub struct Access {
    /// The server's configuration: where its [admin] listens.
    #[arg(long, value_name = "FILE", default_value = "config.toml", global = true)]
    pub config: PathBuf,
    /// Instead of what the configuration says.
    #[arg(long, value_name = "ADDRESS:PORT", global = true)]
    pub admin: Option<SocketAddr>,
    /// A file with the admin key; else it is in REVBRIDGE_ADMIN_KEY.
    #[arg(long, value_name = "FILE", global = true)]
    pub key_file: Option<PathBuf>,
    /// Print JSON, as the API answers it.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum OrgCommand {
    /// All organizations, closed ones too.
    List,
    Show {
        organization: String,
    },
    Create {
        organization: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change what is named; it holds for the next INVITE, also of calls that live.
    Set {
        organization: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Revoke its keys, free its numbers, delete its users. Its calls and records stay.
    Close {
        organization: String,
    },
    /// Open a closed organization again.
    Reopen {
        organization: String,
    },
}

#[derive(Debug, Args)]
pub struct Settings {
    /// A prefix that may be called, or with '!' one that may not; all of them, as often as there are.
    #[arg(long = "allow", value_name = "PREFIX")]
    pub allowed_destinations: Option<Vec<String>>,
    #[arg(long, value_name = "AMOUNT")]
    pub daily_spend_limit: Option<String>,
    #[arg(long, value_name = "N")]
    pub max_concurrent_legs: Option<u64>,
    #[arg(long, value_name = "N")]
    pub max_calls_per_minute: Option<u64>,
    /// 0 takes the cap away, as with the next one.
    #[arg(long, value_name = "N")]
    pub max_legs_per_user: Option<u64>,
    #[arg(long, value_name = "N")]
    pub max_legs_per_destination: Option<u64>,
    #[arg(long, value_name = "N")]
    pub breaker_window_seconds: Option<u64>,
    #[arg(long, value_name = "N")]
    pub breaker_short_answers: Option<u64>,
    #[arg(long, value_name = "N")]
    pub breaker_answer_percent: Option<u64>,
    #[arg(long, value_name = "N")]
    pub breaker_min_calls: Option<u64>,
    #[arg(long, value_name = "N")]
    pub breaker_pause_seconds: Option<u64>,
    /// The day turns at its midnight.
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// "none" or "press_1".
    #[arg(long, value_name = "HOW")]
    pub confirm: Option<String>,
    #[arg(long, value_name = "N")]
    pub max_duration_seconds: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    List {
        organization: String,
    },
    Create {
        organization: String,
        user: String,
        /// The user's own phone, rung first.
        #[arg(long, value_name = "NUMBER")]
        phone: Option<String>,
    },
    Set {
        organization: String,
        user: String,
        #[arg(long, value_name = "NUMBER", required_unless_present = "no_phone")]
        phone: Option<String>,
        #[arg(long, conflicts_with = "phone")]
        no_phone: bool,
    },
    /// Delete a user and revoke the user's keys.
    Delete {
        organization: String,
        user: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum NumberCommand {
    List { organization: String },
    Add { organization: String, number: String },
    Remove { organization: String, number: String },
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key without a server: shown once, with the lines for config.toml that hold only its hash.
    New {
        /// For [admin] instead of an organization.
        #[arg(long)]
        for_admin: bool,
    },
    List {
        organization: String,
    },
    /// Issue a key: shown once.
    Issue {
        organization: String,
        user: String,
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// What people call it.
        #[arg(long)]
        name: Option<String>,
        /// Such as 2027-01-31T09:00:00Z.
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// Issue a successor, and let the key expire after the overlap.
    Rotate {
        key: String,
        /// How long both open; a day unless said otherwise.
        #[arg(long, value_name = "N")]
        overlap_seconds: Option<u64>,
        /// Of the successor.
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// At once and for good.
    Revoke {
        key: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum PriceCommand {
    List,
    /// What a leg to numbers with this prefix costs from the next call on.
    Set {
        prefix: String,
        #[arg(long, value_name = "AMOUNT")]
        per_minute: String,
        #[arg(long, value_name = "AMOUNT")]
        connect: Option<String>,
        #[arg(long, value_name = "N")]
        first_seconds: Option<u64>,
        #[arg(long, value_name = "N")]
        step_seconds: Option<u64>,
    },
    Remove {
        prefix: String,
    },
}

#[derive(Debug, Args)]
pub struct ChangesArguments {
    /// Of one organization only.
    #[arg(long, value_name = "ORGANIZATION")]
    pub organization: Option<String>,
    /// How many, newest first.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}
