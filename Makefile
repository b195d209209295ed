# The few commands a person types. `make demo` and `make test` set up a fresh Debian machine by themselves.

SHELL := /bin/bash
PREFIX ?= /usr/local
DESTDIR ?=
# Where the programs to install are.
BUILT ?= target/release
SYSCONFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),,$(PREFIX))/etc
COMPLETIONS := bash-completion/completions/agent-cli zsh/vendor-completions/_agent-cli fish/vendor_completions.d/agent-cli.fish
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)

BUILD_PACKAGES := build-essential pkg-config libudev-dev
DEMO_PACKAGES := $(BUILD_PACKAGES) openssh-client openssh-server
TEST_PACKAGES := $(DEMO_PACKAGES) git python3 python3-cryptography python3-jsonschema python3-paramiko qemu-system-x86 \
	busybox-static iproute2 kmod fido2-tools openssh-tests sudo gdb strace tmux pinentry-curses pinentry-tty dbus-daemon systemd \
	openssl rsyslog rsyslog-relp chromium
PACKAGE_TEST_PACKAGES := $(TEST_PACKAGES) debootstrap
RUST_MINIMUM := 1.89

.PHONY: help demo test lint native openssh-suite vm bench soak build install install-files deb package-test rust build-packages \
	demo-packages test-packages package-test-packages

help:
	@echo 'make demo      log in through a jump host with a software token, step by step (TOKEN=real: with yours)'
	@echo 'make test      all tests, those in the virtual machine included'
	@echo 'make install   build and install below PREFIX ($(PREFIX)); DESTDIR is respected'
	@echo 'make deb       a Debian package, in target/'
	@echo 'make package-test   install that in a fresh Debian with systemd, use it, and remove it'
	@echo 'make bench     compare with ssh-agent'

# What is installed later is built here, and the token beside it: together they would be built with other features.
demo: build demo-packages
	$(if $(filter real,$(TOKEN)),,cargo build --release -p soft-token -p soft-hidraw)
	demo/run $(if $(filter real,$(TOKEN)),--real-token)

test: rust test-packages lint native openssh-suite vm

lint: rust build-packages
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --all-targets --features agent/notify -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

native: rust test-packages
	cargo build --workspace
	rm -rf target/audit-logs
	AUDIT_LOGS=$(CURDIR)/target/audit-logs cargo test --workspace --no-fail-fast
	AUDIT_LOGS=$(CURDIR)/target/audit-logs cargo test --workspace --test scenario_logs -- --ignored
	cargo test --workspace --lib --features agent/notify notify

openssh-suite: rust test-packages
	cargo build --workspace
	tests/openssh/run-suite

vm: rust test-packages
	tests/vm/prepare
	tests/vm/run-tests

# What is shipped is built by itself: the tests want other features of its libraries.
bench: rust test-packages
	cargo build --release -p agent -p agent-cli
	cargo build --release -p tests -p soft-token -p soft-hidraw
	target/release/bench
	tests/vm/prepare
	tests/vm/bench

# The long versions of what `make test` runs in short.
soak: export SOAK = 1
soak: export PROPTEST_CASES = 10000
soak: native package-test
	tests/vm/prepare
	tests/vm/run-tests --all
	AGREEMENT_SECONDS=600 AGREEMENT_SEED=$$(date +%s) cargo test -p tests --test agreement -- --nocapture

build: rust build-packages
	cargo build --release -p agent -p agent-cli

# With sudo where the place is not ours, but never to build.
install: build
	@mkdir -p $(DESTDIR)$(PREFIX) 2>/dev/null; [ -w $(DESTDIR)$(PREFIX) ] || sudo=sudo; \
	$$sudo $(MAKE) --no-print-directory install-files PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) SYSCONFDIR=$(SYSCONFDIR) BUILT=$(BUILT)
	@$(if $(DESTDIR),,$(if $(filter /usr /usr/local,$(PREFIX)),$(installed_for_all),$(installed_for_one)))

installed_for_all = echo 'Plug your token in anew. Then, each user: systemctl --user enable --now fido-ssh-agent.socket'

# Neither systemd nor udev looks there.
installed_for_one = printf '%s\n' \
  'Put $(PREFIX)/bin into PATH. Then `fido-ssh-agent --install-user-units` has systemd start the agent.' \
  'Where `agent-cli tokens` says that you may not use your token, have udev give it to you, and plug it in anew:' \
  '    sudo cp $(PREFIX)/lib/udev/rules.d/70-fido-ssh-agent.rules /etc/udev/rules.d/'

# Of programs that are there. `make test` has it install those it tests.
install-files:
	install -D -m 755 $(BUILT)/agent $(DESTDIR)$(PREFIX)/bin/fido-ssh-agent
	install -D -m 755 $(BUILT)/sk-helper $(DESTDIR)$(PREFIX)/libexec/fido-ssh-agent/sk-helper
	install -D -m 755 $(BUILT)/agent-cli $(DESTDIR)$(PREFIX)/bin/agent-cli
	manual=$$(mktemp -d) && $(BUILT)/agent-cli manual $$manual && \
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 $$manual/*.1 && \
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man5 $$manual/*.5 && rm -r $$manual
	mkdir -p $(addprefix $(DESTDIR)$(PREFIX)/share/,$(dir $(COMPLETIONS)))
	for file in $(COMPLETIONS); do \
	  $(BUILT)/agent-cli completions "$${file%%[-/]*}" >$(DESTDIR)$(PREFIX)/share/$$file || exit; \
	done
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/systemd/user packaging/systemd/fido-ssh-agent.socket
	sed 's|@BINDIR@|$(PREFIX)/bin|' packaging/systemd/fido-ssh-agent.service >$(DESTDIR)$(PREFIX)/lib/systemd/user/fido-ssh-agent.service
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/udev/rules.d packaging/udev/70-fido-ssh-agent.rules
	install -D -m 644 packaging/profile.sh $(DESTDIR)$(SYSCONFDIR)/profile.d/fido-ssh-agent.sh

# What is installed is what is in the package: agent/Cargo.toml names no file of its own.
deb: rust build-packages
	command -v cargo-deb >/dev/null || cargo install --locked cargo-deb
	rm -f target/fido-ssh-agent_*.deb
	rm -rf target/package && $(MAKE) install PREFIX=/usr DESTDIR=$(CURDIR)/target/package
	cargo deb -p agent --no-build --output target/
	@ls target/*.deb

package-test: package-test-packages deb
	cargo build --release -p soft-token
	tests/vm/package

rust:
	@command -v cargo >/dev/null || { echo 'Rust is not installed. Get it from https://rustup.rs (at least $(RUST_MINIMUM)), then repeat.' >&2; exit 1; }
	@rustc --version | awk -v least=$(RUST_MINIMUM) '{ split($$2, have, "."); split(least, want, "."); \
	  if (have[1] < want[1] || have[1] == want[1] && have[2] < want[2]) { \
	    print "Rust " $$2 " is too old: run `rustup update` to get at least " least ", then repeat." > "/dev/stderr"; exit 1 } }'

build-packages:
	@$(call packages,$(BUILD_PACKAGES))

demo-packages:
	@$(call packages,$(DEMO_PACKAGES))

test-packages:
	@$(call packages,$(TEST_PACKAGES))

package-test-packages:
	@$(call packages,$(PACKAGE_TEST_PACKAGES))

# Installs what is missing, and asks for nothing when nothing is.
define packages
missing=; \
if command -v dpkg-query >/dev/null; then \
  for package in $(1); do \
    dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$package"; \
  done; \
  if [ -n "$$missing" ]; then \
    echo "Installing:$$missing"; \
    $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; \
  fi; \
else \
  echo 'This is not Debian: make sure that you have the equivalents of $(1)' >&2; \
fi
endef
