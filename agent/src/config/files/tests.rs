use std::collections::BTreeSet;

use super::*;
use crate::config::reference::Default as Without;
use crate::{mute, policy};

/// Files in a folder of their own, by their texts.
fn read(texts: &[&str]) -> Result<Loaded, Problems> {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (1..=texts.len()).map(|number| dir.path().join(format!("{number}.toml"))).collect();
    for (path, text) in paths.iter().zip(texts) {
        std::fs::write(path, text).unwrap();
    }
    Loaded::read(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>())
}

/// The problems as `line: what`.
fn problems(text: &str) -> Vec<String> {
    let problems = read(&[text]).unwrap_err().0;
    problems.into_iter().map(|problem| format!("{}: {}", problem.line.unwrap_or_default(), problem.what)).collect()
}

#[test]
fn unknown_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    assert!(Loaded::read(&[&path]).is_ok());
    for (text, good) in [
        ("unbound_hop = \"deny\"\n[limits]\ntouch_seconds = 5\n", true),
        ("unbound_hops = \"deny\"\n", false),
        ("[limits]\ntouch_seconds = 45\n", false),
        ("[limits]\ntouch = 5\n", false),
        ("[prompts]\nchannels = [\"askpass\", \"terminal\"]\npinentry = \"/usr/bin/pinentry-curses\"\n", true),
        ("[mute]\nrefusals = 24\nwithin_seconds = 3600\nseconds = 1\n", true),
        ("[mute]\nrefusals = 0\n", true),
        ("[mute]\nrefusals = 23\n", false),
        ("[mute]\nrefusals = -1\n", false),
        ("[mute]\nwithin_seconds = 0\n", false),
        ("[mute]\nseconds = 3601\n", false),
        ("[mute]\nminutes = 1\n", false),
        ("[prompts]\nchannels = []\n", true),
        ("[prompts]\nchannels = [\"popup\"]\n", false),
        ("[prompts]\nchannel = \"askpass\"\n", false),
        ("[prompts]\npinentry = \"pinentry-curses\"\n", false),
        ("[limits]\nrequest_seconds = 18446744073709551615\n", false),
        ("[[host]]\nname = \"device\"\noffer = [\"work\"]\n[[host]]\nname = \"*\"\noffer = []\n", true),
        ("[host]\nname = \"device\"\noffer = [\"work\"]\n", false),
        ("[[upstream]]\nsocket = \"/run/other\"\n[[upstream]]\nsocket = \"~/another\"\n", true),
        ("[[key]]\nfingerprint = \"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\"\nca = true\n", true),
        ("[[key]]\nfingerprint = \"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\"\nca = true\n", false),
        ("[[key]]\nfingerprint = \"MD5:d4:1d:8c:d9:8f:00:b2:04:e9:80:09:98:ec:f8:42:7e\"\nca = true\n", false),
        ("user_verification = \"pin-and-built-in\"\n", true),
        ("user_verification = \"as-key-asks\"\n", true),
        ("user_verification = \"pin_and_built_in\"\n", false),
        ("user_verification = \"none\"\n", false),
        ("lock_on = [\"suspend\", \"screen-lock\"]\n", true),
        ("[audit]\nanchor = \"journald\"\n", true),
        ("[audit]\nanchor = \"syslog\"\nanchor_every = 10\nanchor_socket = \"/run/log\"\n", true),
        ("[audit]\nanchor = \"rsyslog\"\n", false),
        ("[audit]\nanchor = \"syslog\"\nanchor_every = 0\n", false),
        ("[audit]\nanchor = \"syslog\"\nanchor_socket = \"log\"\n", false),
        ("[audit]\nanchor_every = 10\n", false),
        ("[audit]\nkeep_days = 400\nkeep_mib = 64\n", true),
        ("[audit]\nkeep_days = 0\n", false),
        ("[rehearse]\nevery_days = 30\n", true),
        ("[rehearse]\nevery_days = 0\n", false),
        ("[audit]\nkeep_mib = 63\n", false),
        ("[audit]\nkeep_mib = -1\n", false),
        ("lock_on = []\n", true),
        ("lock_on = [\"sleep\"]\n", false),
        ("lock_on = \"suspend\"\n", false),
        (
            "[[key]]\nfingerprint = \"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\"\nuser_verification = \"pin\"\n",
            true,
        ),
        ("[publish]\nplace = \"~/keys\"\ngraph_url = \"http://127.0.0.1:1\"\ntoken_command = [\"az\"]\n", true),
        ("[publish]\nplace = \"keys\"\n", false),
        ("[publish]\ngraph_url = \"http://graph.example\"\n", false),
        ("[publish]\ntoken_command = []\n", false),
        ("[publish]\ntoken_seconds = 0\n", false),
        ("[publish]\ntoken_command = \"az\"\n", false),
        ("[[upstream]]\n", false),
        ("[[upstream]]\nsocket = \"/run/other\"\nkeys = 2\n", false),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(Loaded::read(&[&path]).is_ok(), good, "{text}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, expected) in [
        (
            "unbound_hops = 1\n\n[limits]\ntouch = 2\n",
            vec![
                "1: there is no setting `unbound_hops`: did you mean `unbound_hop`?",
                "4: there is no setting `touch` in [limits]: the nearest is `touch_seconds`, and docs/settings.md has them all",
            ],
        ),
        ("# deny\nopaque = \"denied\"\n", vec!["2: unknown variant `denied`, expected `allow` or `deny`"]),
        (
            "[limits]\n\ntouch_seconds = 45\nprompt_seconds = 0\n",
            vec![
                "4: limits.prompt_seconds has to be between 1 and 3600",
                "3: limits.touch_seconds has to be between 1 and 44",
            ],
        ),
        ("limits.touch_seconds = 45\n", vec!["1: limits.touch_seconds has to be between 1 and 44"]),
        (
            "[[upstream]]\nsocket = \"/one\"\n[[upstream]]\nsocket = \"two\"\n",
            vec!["4: upstream two: write the socket's whole path, or one that begins with ~/"],
        ),
        (
            "[[host]]\nname = \"a\"\noffer = []\n[[host]]\nname = \"b c\"\noffer = []\n",
            vec![
                "4: [[host]] name = \"b c\": this is no host's name or pattern as in known_hosts, without blanks and hashes",
            ],
        ),
        ("opaque = \"deny\"\nopaque = \"deny\"\n", vec!["2: duplicate key"]),
        ("[host]\nname = \"device\"\n", vec!["1: invalid type: map, expected a sequence"]),
    ] {
        assert_eq!(problems(text), expected, "{text}");
    }
}

#[test]
fn the_user_s_settings_take_the_place_of_the_administrator_s_one_by_one() {
    let administrator = "software_keys = \"deny\"\n[limits]\ntouch_seconds = 20\nprompt_seconds = 30\n\
                         [[upstream]]\nsocket = \"/one\"\n[[upstream]]\nsocket = \"/two\"\n";
    let user = "\nopaque = \"deny\"\n[limits]\ntouch_seconds = 10\n[[upstream]]\nsocket = \"/three\"\n";
    let both = read(&[administrator, user]).unwrap();
    let (settings, limits) = (both.config.settings(), both.config.limits());
    assert_eq!((settings.software_keys, settings.opaque), (policy::Rule::Deny, policy::Rule::Deny));
    assert_eq!((limits.touch.as_secs(), limits.prompt.as_secs()), (10, 30));
    assert_eq!(both.config.upstreams(Path::new("/")).unwrap(), [PathBuf::from("/three")]);
    let place = |name: &str| {
        let given = &both.given()[name];
        (given.file.file_name().unwrap().to_str().unwrap().to_owned(), given.line)
    };
    assert_eq!(place("limits.prompt_seconds"), ("1.toml".into(), 4));
    assert_eq!(place("limits.touch_seconds"), ("2.toml".into(), 4));
    assert_eq!(place("upstream"), ("2.toml".into(), 5));
    assert_eq!(both.hash, Hash::of([administrator, user].concat().as_bytes()));
    let needs_the_other = "[audit]\nanchor_every = 10\n";
    assert!(read(&["[audit]\nanchor = \"syslog\"\n", needs_the_other]).is_ok());
    let lacking = read(&["", needs_the_other]).unwrap_err().to_string();
    assert!(lacking.contains("2.toml:2: audit.anchor has to say"), "{lacking}");
    let one = read(&[administrator]).unwrap();
    assert_eq!(both.differences(&one), ["limits.touch_seconds", "opaque", "upstream"]);
    assert!(holds_at_next_start("upstream") && !holds_at_next_start("limits.touch_seconds"));
    assert!(holds_at_next_start("lock_on") && !holds_at_next_start("host"));
}

/// The names that the parser says it expects, where it is given one that is none.
fn expected(text: &str) -> BTreeSet<String> {
    let message = toml::from_str::<Config>(text).unwrap_err().message().to_owned();
    let (_, expected) = message.split_once("expected ").unwrap_or_else(|| panic!("{text}: {message}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_reference_has_each_setting_that_is_read() {
    for section in SECTIONS {
        let tables = SECTIONS.iter().filter(|other| section.name.is_empty() && !other.name.is_empty());
        let names = section.settings.iter().map(|setting| setting.name).chain(tables.map(|other| other.name));
        let names: BTreeSet<_> = names.map(str::to_owned).collect();
        assert_eq!(expected(&format!("{}\nno_setting = 1\n", section.heading())), names, "{}", section.name);
    }
}

#[test]
fn the_reference_says_what_holds_where_nothing_is_given() {
    let lines = |section: &'static Section| {
        let default = |setting: &super::reference::Setting| match setting.default {
            Without::Is(value) => Some(format!("{} = {value}\n", setting.name)),
            Without::Says(_) | Without::Required => None,
        };
        format!("{}\n{}", section.heading(), section.settings.iter().filter_map(default).collect::<String>())
    };
    let text: String = SECTIONS.iter().filter(|section| !section.many).map(lines).collect();
    let said = read(&[&text]).unwrap().config;
    assert_eq!(said.settings(), policy::Settings::default());
    assert_eq!(said.limits(), crate::limits::Limits::default());
    assert_eq!(said.mute.settings(), mute::Settings::default());
    let nothing = Config::default();
    assert_eq!(said.prompts, nothing.prompts);
    let home = Path::new("/home/me");
    assert_eq!(said.publish.place(home), nothing.publish.place(home));
    assert_eq!(said.publish.graph_url(), nothing.publish.graph_url());
    assert_eq!(said.publish.token_command(), nothing.publish.token_command());
    assert_eq!(said.publish.token_limit(), nothing.publish.token_limit());
    assert_eq!((said.lock_on, said.allow_root), (nothing.lock_on, nothing.allow_root));

    let host = |others: &str| read(&[&format!("[[host]]\nname = \"a\"\noffer = []\n{others}")]).unwrap().config.host;
    assert_eq!(host("others = true\n"), host(""));
    let key = "[[key]]\nfingerprint = \"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\"\n";
    assert!(!read(&[key]).unwrap().config.keys[0].ca);
}
