// compiler.h -- which compilers the sources are written for.
//
// setup.py and CMakeLists.txt preprocess it before anything is compiled, so that an older one is
// refused in one sentence and not in pages. Holds no code.
#pragma once

#if defined(__clang__) ? __clang_major__ < 14 : __GNUC__ < 11
#error torch_infotheory: needs g++ 11, clang++ 14 or a newer one (CXX names the compiler to use)
#endif
