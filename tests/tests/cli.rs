//! `agent-cli` as a person or a script uses it: what it prints, the files it writes and those it leaves
//! alone, its exit codes, and prompts attached to a terminal.
