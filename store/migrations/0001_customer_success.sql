-- Suppliers, and the four tables of the specification exactly as it gives them (columns, checks, indexes).
-- What the pipeline needs beyond them comes in the next files.

CREATE TABLE suppliers (
    id UUID PRIMARY KEY,
    -- the profile, replaced wholly by the next one
    email TEXT,
    first_name TEXT,
    business_name TEXT,
    vendor_type TEXT,
    timezone TEXT,
    locale TEXT,
    plan TEXT CHECK (plan IN ('free', 'starter', 'professional', 'scale', 'enterprise')),
    signed_up_at TIMESTAMPTZ,
    -- consent: ours, never the profile's; *_at is when she said so, and the newest word holds
    email_opt_out BOOLEAN NOT NULL DEFAULT false,
    email_opt_out_at TIMESTAMPTZ,
    all_opt_out BOOLEAN NOT NULL DEFAULT false,
    all_opt_out_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Customer health scoring
CREATE TABLE IF NOT EXISTS customer_health (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  supplier_id UUID REFERENCES suppliers(id) ON DELETE CASCADE,
  health_score INT CHECK (health_score >= 0 AND health_score <= 100),
  risk_level TEXT CHECK (risk_level IN ('healthy', 'at_risk', 'critical')) DEFAULT 'healthy',
  last_login TIMESTAMPTZ,
  feature_adoption_score INT DEFAULT 0,
  client_engagement_score INT DEFAULT 0,
  login_frequency DECIMAL(5,2) DEFAULT 0, -- Days since last login
  form_completion_rate DECIMAL(5,4) DEFAULT 0, -- 0.0 to 1.0
  journey_performance DECIMAL(5,4) DEFAULT 0, -- Email open rates
  calculated_at TIMESTAMPTZ DEFAULT NOW(),
  created_at TIMESTAMPTZ DEFAULT NOW(),
  updated_at TIMESTAMPTZ DEFAULT NOW()
);

-- Success milestones tracking
CREATE TABLE IF NOT EXISTS success_milestones (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  supplier_id UUID REFERENCES suppliers(id) ON DELETE CASCADE,
  milestone_type TEXT NOT NULL, -- 'first_form', 'ten_clients', 'first_automation', 'first_payment'
  achieved_at TIMESTAMPTZ DEFAULT NOW(),
  celebrated BOOLEAN DEFAULT false,
  celebration_sent_at TIMESTAMPTZ,
  milestone_data JSONB DEFAULT '{}',
  created_at TIMESTAMPTZ DEFAULT NOW(),
  UNIQUE(supplier_id, milestone_type)
);

-- Support interactions
CREATE TABLE IF NOT EXISTS support_interactions (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  supplier_id UUID REFERENCES suppliers(id) ON DELETE CASCADE,
  interaction_type TEXT NOT NULL, -- 'onboarding_call', 'check_in', 'technical_support', 'churn_prevention'
  status TEXT DEFAULT 'scheduled', -- 'scheduled', 'completed', 'cancelled', 'no_show'
  scheduled_at TIMESTAMPTZ,
  completed_at TIMESTAMPTZ,
  duration_minutes INT,
  agent_id UUID, -- Internal team member
  notes TEXT,
  outcome TEXT, -- 'resolved', 'escalated', 'follow_up_needed'
  satisfaction_score INT CHECK (satisfaction_score >= 1 AND satisfaction_score <= 5),
  created_at TIMESTAMPTZ DEFAULT NOW()
);

-- Automated interventions tracking
CREATE TABLE IF NOT EXISTS success_interventions (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  supplier_id UUID REFERENCES suppliers(id) ON DELETE CASCADE,
  trigger_condition TEXT NOT NULL, -- 'no_login_7_days', 'low_client_adoption', 'stuck_onboarding'
  intervention_type TEXT NOT NULL, -- 'email', 'in_app_notification', 'support_call'
  template_used TEXT,
  sent_at TIMESTAMPTZ DEFAULT NOW(),
  opened_at TIMESTAMPTZ,
  clicked_at TIMESTAMPTZ,
  converted BOOLEAN DEFAULT false, -- Did user complete desired action
  converted_at TIMESTAMPTZ,
  metadata JSONB DEFAULT '{}',
  created_at TIMESTAMPTZ DEFAULT NOW()
);

-- Create indexes
CREATE INDEX idx_customer_health_supplier ON customer_health(supplier_id);
CREATE INDEX idx_customer_health_risk ON customer_health(risk_level) WHERE risk_level != 'healthy';
CREATE INDEX idx_success_milestones_supplier ON success_milestones(supplier_id);
CREATE INDEX idx_success_milestones_uncelebrated ON success_milestones(celebrated) WHERE celebrated = false;
CREATE INDEX idx_support_interactions_supplier ON support_interactions(supplier_id);
CREATE INDEX idx_interventions_supplier ON success_interventions(supplier_id);
