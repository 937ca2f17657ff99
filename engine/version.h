// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace ivit {

// "0.1.0 (7a457de41)": the release and the commit it was built from, with a + where the sources were changed
// after it; the release alone where they are no git checkout.
const char* version();
// "ivit 0.1.0 (7a457de41)", which every document says it was made by.
const char* program_name();

}  // namespace ivit
