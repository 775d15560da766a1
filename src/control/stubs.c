/* SPDX-License-Identifier: MIT */
#include "control/qmp.h"
