// pack_default.cpp -- packs of 16 bytes, with the instructions that every machine has.
#define TI_PACK_BYTES 16
#include "check.h"
#include "pack.h"

int main() { return torch_infotheory::test_pack("default, packs of 16 bytes"); }
