# SPDX-License-Identifier: MIT
# The front door. Meson and Ninja do the work; scripts/ holds what is longer than a line.

BUILD  ?= build
PREFIX ?= /usr/local
# Link-time optimisation is worth a tenth of the requests per second; empty it for a toolchain that cannot. With clang the
# static library could not be made: its objects would have no code.
MESON_FLAGS ?= $(if $(findstring clang,$(CC)),,-Db_lto=true)

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@command -v meson >/dev/null || { echo "meson is missing: run scripts/install-deps.sh build"; exit 1; }
	meson setup $(BUILD) --prefix=$(PREFIX) $(MESON_FLAGS)

demo:
	scripts/install-deps.sh demo
	$(MAKE) all
	scripts/demo.sh $(BUILD)

check:
	scripts/install-deps.sh check
	scripts/check.py

bench:
	scripts/install-deps.sh bench
	$(MAKE) all
	bench/figures.py --build $(BUILD) $(if $(ONLY),--only $(ONLY))

install: $(BUILD)/build.ninja
	meson configure $(BUILD) -Dprefix=$(abspath $(PREFIX))
	ninja -C $(BUILD)
	DESTDIR="$(DESTDIR)" meson install -C $(BUILD) --no-rebuild
	@# so that programs find the library at once
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig || true; fi

format:
	find src include tests bench examples -name '*.[ch]' -exec clang-format -i {} +

clean:
	rm -rf $(BUILD) build-check

.PHONY: all demo check bench install format clean
