# The README's two commands. Each installs the Debian packages it needs, and says so.

.PHONY: run test

run:
	@sh deploy/need.sh cmake:cmake g++:g++
	cargo build --package duolog
	target/debug/duolog demo

test:
	@sh deploy/need.sh cmake:cmake g++:g++ sipp:sip-tester baresip:baresip-core linphonec:linphone-cli \
	  ffmpeg:ffmpeg opusdec:opus-tools openssl:openssl chromium:chromium \
	  "/usr/lib/*/libbcg729.so.0:libbcg729-0" mkfs.ext4:e2fsprogs fsfreeze:util-linux mount:mount /usr/sbin/dnsmasq:dnsmasq-base socat:socat
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@sh deploy/deny.sh
	cargo test --workspace --no-fail-fast
