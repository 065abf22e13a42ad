// torch_infotheory/ops.h -- every measure and loss as a C++ function on tensors, without Python.
//
//   find_package(torch_infotheory REQUIRED)
//   target_link_libraries(program PRIVATE torch_infotheory::torch_infotheory)
//
// The functions call the registered ops through the dispatcher, so that autograd, tracing and
// autocast work as in Python. They are documented by the Python functions of the same names.
#pragma once
#include "torch_infotheory/losses.h"
#include "torch_infotheory/measures.h"
#include "torch_infotheory/tables.h"
