// module.cpp -- torch_infotheory._C, an empty Python module: importing it loads the library, which
// registers the ops.
//
// Knows the stable ABI of Python and nothing else; no other file may know Python.
#include <Python.h>

PyMODINIT_FUNC PyInit__C() {
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr};
  return PyModule_Create(&definition);
}
