/* SPDX-License-Identifier: Apache-2.0
 *
 * Umbrella header of attar. */
#ifndef ATTAR_ATTAR_H
#define ATTAR_ATTAR_H
#include "attar/data.h"
#include "attar/eval.h"
#include "attar/experts.h"
#include "attar/graph.h"
#include "attar/kernel.h"
#include "attar/method.h"
#include "attar/net.h"
#include "attar/options.h"
#include "attar/program.h"
#include "attar/random.h"
#include "attar/status.h"
#include "attar/tensor.h"
#endif
