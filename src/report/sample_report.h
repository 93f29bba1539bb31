// A report as a real run makes it, with numbers that hang together, for the tests and for looking at.
#pragma once

#include "report/html.h"

namespace graft {

ReportData sample_report();

}  // namespace graft
