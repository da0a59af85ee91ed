/*
Run this script on the shop to bring it to what the model says.
GO
*/
SET NUMERIC_ROUNDABORT OFF
GO
SET ANSI_PADDING, ANSI_WARNINGS, CONCAT_NULL_YIELDS_NULL, ARITHABORT, QUOTED_IDENTIFIER, ANSI_NULLS ON
GO
SET XACT_ABORT ON
GO
SET TRANSACTION ISOLATION LEVEL Serializable
GO
BEGIN TRANSACTION
GO
IF @@ERROR <> 0 SET NOEXEC ON
GO
PRINT N'Altering [dbo].[Customer]'
GO
ALTER TABLE [dbo].[Customer] ADD
[AdminComment] [nvarchar] (max) COLLATE Latin1_General_CI_AS NULL,
[IsTaxExempt] [bit] NOT NULL CONSTRAINT [DF_Customer_IsTaxExempt] DEFAULT ((0)) WITH VALUES,
[LastLogin] [datetime2] (7) NULL,
CONSTRAINT [CK_Customer_Comment] CHECK (len([AdminComment])<(4000))
GO
IF @@ERROR <> 0 SET NOEXEC ON
GO
PRINT N'Creating index [IX_Customer_Email] on [dbo].[Customer]'
GO
CREATE NONCLUSTERED INDEX [IX_Customer_Email] ON [dbo].[Customer] ([Email], [IsTaxExempt] DESC) INCLUDE ([LastLogin]) WHERE ([Email] IS NOT NULL) WITH (FILLFACTOR=80, ONLINE=ON) ON [PRIMARY]
GO
IF @@ERROR <> 0 SET NOEXEC ON
GO
PRINT N'Dropping foreign keys from [dbo].[Order]'
GO
ALTER TABLE [dbo].[Order] DROP CONSTRAINT [FK_Order_Customer], COLUMN [OldNumber], [OlderNumber]
GO
PRINT N'Adding foreign keys to [dbo].[Order]'
GO
ALTER TABLE [dbo].[Order] WITH NOCHECK ADD CONSTRAINT [FK_Order_Customer] FOREIGN KEY ([CustomerId]) REFERENCES [dbo].[Customer] ([Id]) ON DELETE CASCADE
GO
ALTER TABLE [dbo].[Order] CHECK CONSTRAINT [FK_Order_Customer]
GO
ALTER TABLE [dbo].[Order] WITH CHECK CHECK CONSTRAINT ALL
GO
DISABLE TRIGGER [dbo].[trOrder] ON [dbo].[Order]
GO
EXEC sp_refreshview N'[dbo].[OrderOverview]'
GO
COMMIT TRANSACTION
GO
DECLARE @Success AS BIT
SET @Success = 1
SET NOEXEC OFF
IF (@Success = 1) PRINT 'The database update succeeded'
ELSE BEGIN
	IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION
	PRINT 'The database update failed'
END
GO
