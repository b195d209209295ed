//! The places in which public keys are registered, so that hosts take them.

mod authorized_keys;
mod bearer;
mod graph;

use agent::config::Loaded;
use agent::config::publish::Place;

use crate::places::find;
use crate::problem::Problem;
use crate::public_key::PublicKey;
use crate::terminal::Terminal;
use authorized_keys::AuthorizedKeys;
use graph::Graph;

/// Which place, and how it is reached.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// "graph", or a file or folder of authorized_keys lines; by default what the settings say (`publish.place`)
    #[arg(long, value_name = "graph|PATH")]
    to: Option<String>,
    /// Read an access token for Microsoft Graph from the first line of standard input, and do not run the command for it
    #[arg(long)]
    token_stdin: bool,
}

impl Options {
    /// Whether any of them is given.
    pub(crate) fn are_given(&self) -> bool {
        self.to.is_some() || self.token_stdin
    }
}

/// A place, ready to be looked at.
#[derive(Debug)]
pub(crate) enum Directory {
    /// The person's account.
    Graph(Box<Graph>),
    /// A file.
    File(AuthorizedKeys),
}

/// What stands in a place.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Whose it is, as the place names them.
    pub(crate) account: Option<String>,
    /// The keys.
    pub(crate) entries: Vec<Entry>,
    /// What else is there, and is gone once a key is registered.
    pub(crate) lost: Vec<String>,
}

/// A key in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As it stands there.
    pub(crate) text: String,
    /// The key and its comment, where it is one.
    pub(crate) key: Option<(PublicKey, String)>,
    /// Whether hosts are told to take no signature without fingerprint or PIN.
    pub(crate) verify_required: bool,
}

impl Entry {
    /// What stands there is this line of a `.pub` file.
    fn of_line(text: &str) -> Self {
        let text = text.trim_end_matches('\n').to_owned();
        Self { key: PublicKey::read_line(&text), text, verify_required: false }
    }

    /// Whether it is this key.
    pub(crate) fn is(&self, key: &PublicKey) -> bool {
        self.key.as_ref().is_some_and(|(there, _)| there.blob == key.blob)
    }

    /// In a line for a person.
    pub(crate) fn describe(&self) -> String {
        match &self.key {
            Some((key, comment)) => key.describe(comment),
            None => format!("no key: {}", self.text.chars().take(80).collect::<String>()),
        }
    }
}

impl Directory {
    /// The place that is asked for. Its access token is there afterwards, if it takes one.
    pub(crate) fn open(options: &Options, terminal: &mut Terminal) -> Result<Self, Problem> {
        let paths = find(None)?;
        let settings = Loaded::of(&paths).map_err(crate::commands::config::wrong)?.config.publish;
        let place = match &options.to {
            Some(text) => Place::read(text, &paths.home),
            None => settings.place(&paths.home),
        };
        match place.map_err(Problem::usage)? {
            Place::File(path) => AuthorizedKeys::at(&path).map(Self::File),
            Place::Graph => {
                let token = match options.token_stdin {
                    true => bearer::from_stdin()?,
                    false => bearer::from_command(&settings.token_command(), settings.token_limit(), terminal)?,
                };
                Ok(Self::Graph(Box::new(Graph::of(&settings, token)?)))
            }
        }
    }

    /// What it is, for a person.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Graph(_) => "Microsoft Graph".into(),
            Self::File(file) => file.path().display().to_string(),
        }
    }

    /// Whether a key takes the place of the one that is there.
    pub(crate) fn holds_one_key(&self) -> bool {
        matches!(self, Self::Graph(_))
    }

    /// What stands there now.
    pub(crate) fn look(&mut self, terminal: &mut Terminal) -> Result<Standing, Problem> {
        match self {
            Self::Graph(graph) => graph.look(terminal),
            Self::File(file) => file.look(),
        }
    }

    /// Registers the key in this line of a `.pub` file, once somebody has looked at what stands there. Hosts are told that it
    /// signs only for who is `verify_required`, where the place has a way to say so.
    pub(crate) fn register(
        &mut self,
        line: &str,
        verify_required: bool,
        terminal: &mut Terminal,
    ) -> Result<(), Problem> {
        match self {
            Self::Graph(graph) => graph.store(line, terminal),
            Self::File(file) => file.add(line, verify_required),
        }
    }

    /// What stands there after that.
    pub(crate) fn read_back(&mut self, terminal: &mut Terminal) -> Result<Standing, Problem> {
        match self {
            Self::Graph(graph) => graph.stored(terminal),
            Self::File(file) => file.look(),
        }
    }
}
