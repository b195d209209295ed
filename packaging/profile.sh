# For login shells: the agent that systemd starts at the first use, where its socket is there. A forwarded agent's stays.
if [ -z "${SSH_AUTH_SOCK:-}" ] && [ -S "${XDG_RUNTIME_DIR:-}/fido-ssh-agent/default/agent.sock" ]; then
    SSH_AUTH_SOCK=$XDG_RUNTIME_DIR/fido-ssh-agent/default/agent.sock
    export SSH_AUTH_SOCK
fi
